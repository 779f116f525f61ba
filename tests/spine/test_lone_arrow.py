"""Arrow starts without pandas, and pandas is there for whoever asks for it."""

import subprocess
import sys


def told_by(code: str) -> str:
    """What the code prints in a fresh process."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_arrays_are_made_without_pandas() -> None:
    """After the start, making arrays of numpy's does not import pandas."""
    code = (
        "from fleetscore.lone_arrow import start_lone_arrow; start_lone_arrow();"
        "import sys, numpy, pyarrow; pyarrow.array(numpy.zeros(3)); print('pandas' in sys.modules)"
    )
    assert told_by(code) == "False"


def test_pandas_works_for_whoever_asks() -> None:
    """A table still becomes a data frame, and pandas can be imported."""
    code = (
        "from fleetscore.lone_arrow import start_lone_arrow; start_lone_arrow();"
        "import pyarrow; frame = pyarrow.table({'a': [1, 2]}).to_pandas();"
        "import pandas; print(frame['a'].sum(), pyarrow.Table.from_pandas(frame).num_rows)"
    )
    assert told_by(code) == "3 2"
