"""How a function failed, as values that can be sent and stored, whatever the app raised."""

import traceback
from dataclasses import dataclass

from devhost.json_text import without_surrogates


@dataclass(frozen=True, slots=True)
class Failure:
    """How a function failed: `TypeName: message`, and the traceback."""

    message: str
    trace: str


def describe(failure: BaseException) -> Failure:
    """Return an exception's type, text and traceback; never raises, even where the exception's text does."""
    return Failure(f"{name_of(failure)}: {text_of(failure)}", trace_of(failure))


def name_of(failure: BaseException) -> str:
    """Return the name of the exception's type, which a metaclass of the app may refuse or make of anything."""
    try:
        return without_surrogates(type(failure).__name__)
    except BaseException:  # the app's code
        return without_surrogates(type.__dict__["__name__"].__get__(type(failure)))


def text_of(failure: BaseException) -> str:
    """Return the exception's text, or a note where making it raises; UTF-8 can carry it."""
    try:
        return without_surrogates(str(failure))
    except (
        BaseException
    ) as error:  # an exception's __str__ is the app's code: it may raise or return anything
        return f"<the text of this {name_of(failure)} could not be made: {name_of(error)}>"


def trace_of(failure: BaseException) -> str:
    """Return the exception's traceback as text that UTF-8 can carry."""
    try:
        return without_surrogates("".join(traceback.format_exception(failure)))
    except BaseException as error:  # the app's code again, in notes or groups
        return f"<the traceback could not be made: {name_of(error)}>"
