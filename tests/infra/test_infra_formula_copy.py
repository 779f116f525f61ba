"""The copy of the autoscale formula that the local Batch service tests itself with."""

from tests.infra.places import INFRA, ROOT


def test_the_local_batch_service_evaluates_the_same_formula() -> None:
    """The formula in the tests of the local Batch service is that of the template, byte for byte."""
    copy = ROOT / "tools" / "devbatch" / "tests" / "spot_first.formula"
    assert copy.read_bytes() == (INFRA / "autoscale.formula").read_bytes()
