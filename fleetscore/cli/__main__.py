"""The entry of the command line: whatever is interrupted, even an import, ends with an exit code and no
traceback.
"""

from __future__ import annotations

import sys

INTERRUPTED = 130
TYPE_CHECKING = False  # `typing` would be imported before the guard
if TYPE_CHECKING:
    from collections.abc import Sequence

try:
    from fleetscore.cli.program import leave, run_command
except KeyboardInterrupt:
    sys.exit(INTERRUPTED)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0, 10 or 20 as a run ended, 2 for wrong input, 1 for the unexpected,
    130 after Ctrl-C.
    """
    try:
        leave(run_command(sys.argv[1:] if arguments is None else arguments))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
