"""The pages on Azure: what they say of versions, quotas, costs and functions is what the files say."""

import json
import re

import yaml

from tests.infra.places import INFRA, ROOT

DEPLOY = (ROOT / "docs" / "deploy.md").read_text()
EVIDENCE = (ROOT / "docs" / "azure_evidence.md").read_text()
UNPROVEN = (ROOT / "docs" / "azure_unproven.md").read_text()
README = (INFRA / "README.md").read_text()


def test_versions_and_costs_are_those_of_the_files() -> None:
    """The oldest azd, the supported Pythons, the sums of the cost table and the size of the package are named alike."""
    azd = yaml.safe_load((ROOT / "azure.yaml").read_text())["requiredVersions"]["azd"].removeprefix(">= ")
    for page in (DEPLOY, README):
        assert f"{azd} or later" in page
    versions = json.loads((INFRA / "python_versions.json").read_text())["versions"]
    assert f"Python {', '.join(versions[:-1])} or {versions[-1]}" in DEPLOY
    rest, smallest, private = re.findall(
        r"\| \*\*sum\*\* \| \*\*(\d+)\*\* \| \*\*(\d+)\*\* \| \*\*(\d+)\*\*", README
    )[0]
    assert f"**{rest} USD a month" in DEPLOY and f"**{smallest}** at the smallest" in DEPLOY
    assert f"about {private}" in DEPLOY
    measured = json.loads((INFRA / "package_sizes.json").read_text())["measured_bytes"]["3.11"]
    assert f"{measured / 1e6:.0f} MB" in README and f"{measured / 1e6:.0f} MB" in UNPROVEN


def test_the_readme_follows_the_order_of_the_deployment() -> None:
    """The README's steps are the page's own, in its order, each linked to its heading, with the costs of the table."""
    text = (ROOT / "README.md").read_text()
    steps = re.findall(r"^\d\. \[(.+?)\]\(docs/deploy\.md#(\S+)\)", text, re.MULTILINE)
    headings = [
        (name, f"{number}-{name}".lower().replace(" ", "-"))
        for number, name in re.findall(r"^## (\d)\. (.+)$", DEPLOY, re.MULTILINE)
    ]
    assert steps == [each for each in headings if "upgrades" not in each[0]]
    rest, smallest = re.findall(r"\| \*\*sum\*\* \| \*\*(\d+)\*\* \| \*\*(\d+)\*\*", README)[0]
    assert f"about {rest} USD a month at rest, {smallest} at the smallest" in text


def test_the_cost_table_adds_up() -> None:
    """The sums of the table are those of its rows."""
    table = README[README.index("| what | default | smallest |") : README.index("| **sum**")]
    rows = [[cell.strip() for cell in line.split("|")[2:5]] for line in table.splitlines()[2:]]
    sums = [sum(int(row[column] or 0) for row in rows) for column in range(3)]
    assert [f"**{total}**" for total in sums] == [
        cell.strip() for cell in README[README.index("| **sum**") :].splitlines()[0].split("|")[2:5]
    ]


def test_every_claim_has_its_evidence() -> None:
    """Each claim names one of the kinds of evidence, and each kind is explained."""
    kinds = {"recorded", "compiled", "modelled", "documented", "reported", "unproven"}
    explained, claims = EVIDENCE.split("| claim | evidence | where |")
    assert set(re.findall(r"^\| (\w+) \|", explained, re.MULTILINE)) - {"evidence"} == kinds
    rows = [line.split("|") for line in claims.strip().splitlines()[1:] if line.startswith("|")]
    assert len(rows) > 30
    for _, claim, evidence, *_ in rows:
        assert any(kind in evidence for kind in kinds) or "run here" in evidence, claim


def test_every_open_question_has_its_command() -> None:
    """Each question says what happens if it is otherwise and how it is settled, and those that one hour would settle come first."""
    rows = [
        line.split("|") for line in UNPROVEN.splitlines() if re.match(r"\| \d+ \|", line.replace("\\|", "/"))
    ]
    assert [int(row[1]) for row in rows] == list(range(1, len(rows) + 1))
    assert all(cell.strip() for row in rows for cell in row[2:5])
    first = " ".join(row[2] for row in rows[:3])
    assert "PATH" in first and "formula evaluated" in first and "mount a package" in first


def test_all_providers_are_listed(templates: dict[str, object]) -> None:
    """README lists the resource provider of every type that a template makes."""
    kinds = {d.kind for t in templates.values() for d in t.resources.values()}  # type: ignore[attr-defined]
    for provider in {kind.partition("/")[0] for kind in kinds} | {"Microsoft.App"}:
        assert f"`{provider}`" in README, provider
