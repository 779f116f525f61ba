"""Damaged files of every format of models end in an outcome; the script beside this test does it by the ten thousand."""

from pathlib import Path

import pytest

from tests.models.fuzz_model_files import WRITERS, fuzz

_REFUSALS = {
    "unreadable_model", "unsupported_model", "corrupt_model", "model_too_large", "unknown_format", "unsafe_skops", "not_proven",
    "unknown_model_format", "import_limit", "empty_model",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(WRITERS))
def test_damaged_files_end_in_an_outcome(name: str, tmp_path: Path) -> None:
    """Two hundred seeded damages of a small model: each is refused with a code, or proven equal to what its library reads."""
    outcomes = fuzz(name, 200, 7, tmp_path)
    assert sum(outcomes.values()) == 200
    assert outcomes.keys() <= {*_REFUSALS, "proven"}
    assert len(outcomes) > 1, outcomes
