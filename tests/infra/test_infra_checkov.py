"""checkov reads every file, and each of its findings is gone or carried with a reason."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.infra.bicep_reader import Template
from tests.infra.places import INFRA

ACCEPTED = json.loads((Path(__file__).parent / "checkov_accepted.json").read_text())


def run_checkov(folder: Path) -> dict[str, Any]:
    """checkov's report on a folder; AssertionError where it skipped a file, since it exits with 0 then."""
    command = (
        f"{Path(sys.executable).with_name('checkov')} --framework bicep --skip-download --compact -o json -d"
    )
    done = subprocess.run([*command.split(), str(folder)], capture_output=True, text=True, check=False)
    report: dict[str, Any] = json.loads(done.stdout)
    assert "summary" in report, f"checkov found nothing to read in {folder}: {report}"
    assert report["summary"]["parsing_errors"] == 0, "checkov could not read every file"
    return report


def findings(report: dict[str, Any]) -> set[str]:
    """Failed checks as `CHECK type.name`."""
    return {f"{check['check_id']} {check['resource']}" for check in report["results"]["failed_checks"]}


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    """checkov's report on infra/."""
    return run_checkov(INFRA)


def test_checkov_read_every_resource(report: dict[str, Any], templates: dict[str, Template]) -> None:
    """At least as many resources as the files declare: nothing was silently left out."""
    declared = sum(not d.existing for t in templates.values() for d in t.resources.values())
    assert declared >= 40
    assert report["summary"]["resource_count"] >= declared
    assert report["summary"]["passed"] >= 30


def test_findings_are_gone_or_carried(report: dict[str, Any]) -> None:
    """No finding without a reason, no reason without a finding."""
    assert findings(report) == set(ACCEPTED)


def test_every_reason_is_a_sentence() -> None:
    """A reason says why; it does not repeat the check's name."""
    assert all(len(reason.split()) >= 6 and reason.endswith(".") for reason in ACCEPTED.values())


def test_a_planted_fault_is_found(tmp_path: Path) -> None:
    """The same files with TLS 1.0 on the storage accounts give a finding that is not carried."""
    copy = shutil.copytree(INFRA, tmp_path / "infra")
    storage = copy / "modules" / "storage.bicep"
    storage.write_text(storage.read_text().replace("'TLS1_2'", "'TLS1_0'"))
    assert findings(run_checkov(copy)) - set(ACCEPTED) == {
        "CKV_AZURE_44 Microsoft.Storage/storageAccounts.account"
    }


def test_a_file_that_checkov_cannot_read_fails(tmp_path: Path) -> None:
    """A file outside checkov's grammar, on which checkov itself exits with 0, is an error here."""
    (tmp_path / "new.bicep").write_text("param maybe string?\n")
    with pytest.raises(AssertionError, match="checkov"):
        run_checkov(tmp_path)
