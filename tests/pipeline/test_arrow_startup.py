"""Arrow starts without pandas, and pandas is there for whoever asks for it."""

import os
import subprocess
import sys

import pytest


def told_by(code: str, workloads: str = "") -> str:
    """What the code prints in a fresh process."""
    environment = {**os.environ, "FLEETSCORE_WORKLOADS": workloads}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return done.stdout.strip()


_MAKING = (
    "pyarrow.array(numpy.zeros(3))",
    "pyarrow.array([1, None])",
    "pyarrow.array([True, None]).to_numpy(zero_copy_only=False)",
    "pyarrow.table({'a': [1]}).group_by('a').aggregate([('a', 'sum')]).to_pylist()",
)


@pytest.mark.parametrize("making", _MAKING)
def test_arrays_are_made_without_pandas(making: str) -> None:
    """After the start, neither making arrays of numpy's or Python's values nor reading them imports pandas."""
    code = (
        "from fleetscore.arrow_startup import block_pandas_import; block_pandas_import();"
        f"import sys, numpy, pyarrow; {making}; print('pandas' in sys.modules)"
    )
    assert told_by(code) == "False"


def test_workloads_of_the_users_own_meet_arrow_as_it_is() -> None:
    """Where they are configured, what Arrow knows of pandas stays: NaT and NA among objects are nulls."""
    code = (
        "from fleetscore.arrow_startup import block_pandas_import; block_pandas_import();"
        "import pandas, pyarrow; print(pyarrow.array(pandas.Series(['x', pandas.NA, pandas.NaT])).null_count)"
    )
    assert told_by(code, "mine=my_workload:Mine") == "2"


def test_pandas_works_for_whoever_asks() -> None:
    """A table still becomes a data frame, and pandas can be imported."""
    code = (
        "from fleetscore.arrow_startup import block_pandas_import; block_pandas_import();"
        "import pyarrow; frame = pyarrow.table({'a': [1, 2]}).to_pandas();"
        "import pandas; print(frame['a'].sum(), pyarrow.Table.from_pandas(frame).num_rows)"
    )
    assert told_by(code) == "3 2"


def test_other_threads_may_import_pandas_meanwhile() -> None:
    """While one thread lets Arrow find no pandas, another one that scores imports it as ever."""
    code = """
import threading, pyarrow
from fleetscore.arrow_startup import block_pandas_import
inside, finish, make = threading.Event(), threading.Event(), pyarrow.array
def slowly(*values, **options):
    inside.set()
    assert finish.wait(60)
    return make(*values, **options)
pyarrow.array = slowly
blocking = threading.Thread(target=block_pandas_import)
blocking.start()
assert inside.wait(60)
import pandas
finish.set()
blocking.join()
print(pandas.DataFrame({"a": [1, 2]})["a"].sum())
"""
    assert told_by(code) == "3"
