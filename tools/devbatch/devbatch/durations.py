"""ISO 8601 durations as the service and its client write them; seconds inside."""

import re
from typing import Final

from devbatch.errors import invalid_property

NO_LIMIT: Final = "P10675199DT2H48M5.4775807S"
_NO_LIMIT_S: Final = 10_000_000 * 86_400.0
_DURATION: Final = re.compile(
    r"P(?:(?P<d>\d+(?:\.\d+)?)D)?"
    r"(?:T(?:(?P<h>\d+(?:\.\d+)?)H)?(?:(?P<m>\d+(?:\.\d+)?)M)?(?:(?P<s>\d+(?:\.\d+)?)S)?)?"
)


def parse_duration(text: str, name: str) -> float | None:
    """Seconds of a duration, or None where it means "no limit".

    Raises ServiceError (400) naming the property when the text is not a duration in days, hours, minutes and
    seconds.
    """
    match = _DURATION.fullmatch(text)
    if match is None or not any(match.groupdict().values()):
        raise invalid_property(name, text, "an ISO 8601 duration such as PT2H30M is expected")
    parts = {unit: float(number or 0) for unit, number in match.groupdict().items()}
    seconds = parts["d"] * 86_400 + parts["h"] * 3_600 + parts["m"] * 60 + parts["s"]
    return None if seconds >= _NO_LIMIT_S else seconds
