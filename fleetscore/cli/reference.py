"""docs/reference/commands.md, made from the commands' own help: `python -m fleetscore.cli.reference >
docs/reference/commands.md`.
"""

from __future__ import annotations

from collections.abc import Iterator

import click

from fleetscore.cli.commands import fleetscore

_WIDTH = 100
_HEAD = """# Commands

This page is what `fleetscore COMMAND --help` says; a test keeps it so. `python -m fleetscore` is the same program.

Every command that prints a result takes `--json`, and then prints nothing else to standard output. Progress goes to standard
error: a bar on a terminal, lines elsewhere.

| exit code | meaning |
|---|---|
| 0 | done; of a run: every expected partition has a good outcome (scored or skipped) |
| 10 | published, but some partitions failed or are late; `attention`: something needs it; `check`: something does not fit |
| 20 | nothing was published; `check`: no model could score a row |
| 2 | wrong usage or input; two lines say what and what to do |
| 1 | something unexpected; `fleetscore --debug COMMAND` shows where |
| 130 | stopped by Ctrl-C; the message says how to continue |
| 141 | the reader of a pipe went away |

| environment variable | meaning |
|---|---|
| `FLEETSCORE_STORE` | the store, where `--store` is not given |
| `FLEETSCORE_KEY` | the function key, where `--key` is not given |
| `FLEETSCORE_APP_DIR` | the folder of function_app.py, where it is not beside the package |
"""


def render_reference() -> str:
    """The page as Markdown."""
    return _HEAD + "".join(f"\n## {path}\n\n```text\n{text}\n```\n" for path, text in help_texts())


def help_texts() -> Iterator[tuple[str, str]]:
    """Each command line, from `fleetscore` on, and its help."""
    settings = dict(fleetscore.context_settings)
    yield from _texts(
        fleetscore, click.Context(fleetscore, info_name="fleetscore", terminal_width=_WIDTH, **settings)
    )


def _texts(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None:
                yield from _texts(child, click.Context(child, context, info_name=name, terminal_width=_WIDTH))


if __name__ == "__main__":
    click.echo(render_reference(), nl=False)
