"""Help: every command has one, the reference page says the same, and asking costs next to nothing."""

import re
import resource
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from fleetscore import __version__
from fleetscore.cli.commands import fleetscore
from fleetscore.cli.reference import help_texts, render_reference

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "commands.md"
PRINTS_NO_RESULT = {"host"}


def leaves() -> list[tuple[str, click.Command]]:
    """Every command that does something, with its words."""
    context = click.Context(fleetscore)
    found: list[tuple[str, click.Command]] = []
    for name in fleetscore.list_commands(context):
        command = fleetscore.get_command(context, name)
        assert command is not None
        children = command.commands if isinstance(command, click.Group) else {}
        found += [(f"{name} {child}", each) for child, each in children.items()] or [(name, command)]
    return found


def test_the_reference_page_is_what_help_says() -> None:
    """docs/reference/commands.md is made from the commands' own help, and up to date."""
    assert PAGE.read_text() == render_reference(), "run: python docs/regenerate.py"


def test_no_help_text_is_cut_off() -> None:
    """Every command says in the list what it does, without an ellipsis, on a terminal of 80 columns as well."""
    texts = [text for _, text in help_texts()]
    texts += [
        CliRunner().invoke(fleetscore, [*group, "--help"], terminal_width=80).output
        for group in ((), ("models",))
    ]
    lines = [line for text in texts for line in text.partition("Commands:")[2].splitlines()]
    assert lines
    assert not [line for line in lines if line.endswith("...")]


@pytest.mark.parametrize(("words", "command"), leaves(), ids=[words for words, _ in leaves()])
def test_a_command_says_what_it_does_and_can_print_json(words: str, command: click.Command) -> None:
    """Every command and every option has a sentence; every command that prints a result takes --json."""
    assert (command.help or "").strip().split("\n")[0].endswith((".", ";", ":")) or command.help
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    assert not [option.name for option in options if not option.help]
    if words not in PRINTS_NO_RESULT:
        assert "as_json" in {option.name for option in options}


def test_help_loads_nothing_heavy() -> None:
    """`fleetscore --help` imports no numerical library, no Azure SDK, no HTTP client and no rich."""
    code = (
        "import sys\nfrom fleetscore.cli.__main__ import run_command\nrun_command(['--help'])\n"
        "heavy = ('numpy', 'pyarrow', 'pandas', 'requests', 'rich', 'azure', 'msgspec', 'sklearn')\n"
        "print('loaded:', [name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("loaded: []")


def test_the_version_is_an_option_too() -> None:
    """`fleetscore --version`, as programs have it, names the version that is installed."""
    done = subprocess.run(
        [sys.executable, "-m", "fleetscore", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"fleetscore {__version__}\n"


def test_help_comes_at_once() -> None:
    """`fleetscore --help` costs less than a quarter of a processor second (which other load on the machine disturbs least)."""
    costs_s = []
    for _ in range(4):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "fleetscore", "--help"], cwd=ROOT, capture_output=True, check=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        costs_s.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(costs_s) < 0.25


def test_every_command_of_the_readme_exists() -> None:
    """What README.md shows after `fleetscore` is a command."""
    text = (ROOT / "README.md").read_text()
    shown = set(re.findall(r"^fleetscore ([a-z-]+)", text, re.MULTILINE))
    assert shown
    assert shown <= {words.split()[0] for words, _ in leaves()}
