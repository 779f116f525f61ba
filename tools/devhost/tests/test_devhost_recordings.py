"""The local host against recordings of the real Durable extension, scenario by scenario and payload by
payload.

`recordings/extension.json` holds what the extension (3.19.0, Azure Storage backend) answered to
durable_scenarios.py for the app in apps/durable, `recordings/contexts.jsonl` what it handed to the language
worker in the last episode of each flow. Both are without ids, times, addresses, stacks and long texts; see
`plain`.
"""

import json
import re
import subprocess
import sys
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

_HERE = Path(__file__).parent
_RECORDINGS = _HERE / "recordings"
_LEFT_OUT = {"StackTrace", "Details"}
_LONG = 2000
# Where the host answers otherwise, on purpose. README.md gives the reason for each; a test holds that both agree.
_DIFFERENCES = {
    "bad_starts": {".malformed[1].ExceptionMessage", ".unknown"},
    "events": {".bad[1].ExceptionMessage"},
    "two_timers": {".history[0].Result", ".status.output"},
    "unknown_activity": {".code", ".history", ".history_without_output", ".status"},
    "unknown_child": {".code", ".history", ".history_without_output", ".status"},
    "unserialisable": {".history[0].Result", ".status.output"},
}
_IN_PARALLEL = {"fan_of_retries", "fan_with_failure", "any_of"}  # the order of their results is by chance
_SEVERAL = {"retried_child > flaky_child"}  # instances under one label, of which any may be the last
_RECORDER = """

def _record():
    from pathlib import Path
    read = df.DurableOrchestrationContext.from_json
    out = Path(os.environ["PAYLOADS"])

    def from_json(text):
        with out.open("a") as file:
            file.write(json.dumps({"function": None, "context": json.loads(text)}) + "\\n")
        return read(text)

    df.DurableOrchestrationContext.from_json = staticmethod(from_json)

import json
_record()
"""


def plain(value: Any) -> Any:
    """Return recorded values without what depends on the machine; events of a history in an order of their
    own.
    """
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items() if key not in _LEFT_OUT}
    if isinstance(value, list):
        items = [plain(each) for each in value]
        is_history = items and all(isinstance(each, dict) and "EventType" in each for each in items)
        return sorted(items, key=lambda each: json.dumps(each, sort_keys=True)) if is_history else items
    if not isinstance(value, str):
        return value
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00)?", "TIME", value)
    text = re.sub(r"-[0-9a-f]{6}(?![0-9a-f])", "-RUN", text)
    text = re.sub(r"https?://[^/\s\"]+/(durabletask|runtime/webhooks/durabletask)|BASE", "BASE", text)
    text = re.split(r" \n (?:\{|Traceback)", re.sub(r"\?[^\"\s]*|code=[^&\"\s]*", "?Q", text))[0]
    return text if len(text) <= _LONG else f"{len(text)} characters: {text[:20]}"


def _differences(one: Any, other: Any, path: str = "") -> list[str]:
    """Return the paths at which two values differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = sorted({*one, *other})
        found = [_differences(one.get(key, ...), other.get(key, ...), f"{path}.{key}") for key in keys]
        return [each for part in found for each in part]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [each for n, (a, b) in pairs for each in _differences(a, b, f"{path}[{n}]")]
    return [] if one == other else [path]


def _ask(make_host: Any, folder: Path, *scenarios: str, host_json: str | None = None) -> dict[str, Any]:
    """Return what the local host answers to the scenarios, by default to all.

    The payloads for the SDK are in `folder`/payloads.
    """
    app = (_HERE / "apps" / "durable" / "function_app.py").read_text() + _RECORDER
    environment = {"MARKS": str(folder / "marks"), "PAYLOADS": str(folder / "payloads")}
    files = {} if host_json is None else {"host.json": host_json}
    host = make_host(app, "--workers", "2", files=files, **environment).start()
    rpc_url = json.loads((host.data / "address.json").read_text())["rpc_url"]
    out = folder / "answers.json"
    command = [sys.executable, str(_HERE / "durable_scenarios.py"), rpc_url, str(out), *scenarios]
    subprocess.run(command, check=True, timeout=200)
    return dict(plain(json.loads(out.read_text())))


def test_readme_lists_the_differences() -> None:
    """The README's list of differences names exactly the scenarios that differ, each with a reason."""
    text = (_HERE.parent / "README.md").read_text()
    section = text.partition("## Where it differs from recordings")[2].partition("\n## ")[0]
    rows = [
        re.findall(r"`(\w+)`", row.split("|")[1]) for row in section.splitlines() if row.startswith("| `")
    ]
    assert sorted(name for row in rows for name in row) == sorted(_DIFFERENCES)
    assert all(len(row.split("|")[3].strip()) > 20 for row in section.splitlines() if row.startswith("| `"))


def _label(payload: dict[str, Any]) -> str:
    """Return a name for a payload that is the same on every host."""
    context = payload["context"]
    start = next(each for each in context["history"] if each["EventType"] == 0)
    own, parent = context["instanceId"], context["parentInstanceId"] or ""
    name = own if not parent else f"{parent} > {start['Name']}"
    return re.sub(r"-[0-9a-f]{6}", "", name)


def _order(history: list[dict[str, Any]]) -> list[Any]:
    """Return the types of the events without episodes' marks; results that come together in an order of their
    own.

    A termination is left out: this host does not ask the code again then.
    """
    kinds = [each["EventType"] for each in history if each["EventType"] not in (3, 12, 13)]
    groups = groupby(kinds, key=lambda kind: kind in (5, 6, 8, 9, 11, 15))
    return [kind for is_result, group in groups for kind in (sorted(group) if is_result else group)]


def _payloads(path: Path) -> dict[str, dict[str, Any]]:
    """Return the payload of the last episode for every label."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {_label(each): each["context"] for each in lines}


def _check_payloads(path: Path) -> None:
    """Every payload has the extension's keys in its order, every event those of its type, in the same order."""
    recorded, ours = _payloads(_RECORDINGS / "contexts.jsonl"), _payloads(path)
    common = recorded.keys() & ours.keys()
    assert len(common) >= 40, sorted(recorded.keys() - ours.keys())
    shapes = {
        (each["EventType"], tuple(each)) for context in recorded.values() for each in context["history"]
    }
    for label in sorted(common):
        theirs, own = recorded[label], ours[label]
        assert list(own) == list(theirs), label
        constants = [key for key in theirs if "chema" in key or "Duration" in key or "default" in key]
        assert {key: own[key] for key in constants} == {key: theirs[key] for key in constants}, label
        assert {(each["EventType"], tuple(each)) for each in own["history"]} <= shapes, label
        arrange = sorted if label in _IN_PARALLEL else list
        is_terminated = any(each["EventType"] == 3 for each in theirs["history"])
        ordered, expected = _order(own["history"]), _order(theirs["history"])
        expected = expected[: len(ordered)] if is_terminated else expected
        assert label in _SEVERAL or arrange(ordered) == arrange(expected), label
        assert own["isReplaying"] == (sum(each["EventType"] == 12 for each in own["history"]) > 1), label
        marks = [each for each in own["history"] if each["EventType"] in (4, 7, 10, 12, 13)]
        assert not any(each["IsPlayed"] for each in marks), label


def _check_answers(answers: dict[str, Any]) -> None:
    """All scenarios are alike but for the listed differences, each of which is still there."""
    recorded = json.loads((_RECORDINGS / "extension.json").read_text())
    assert len(recorded) == 62 and answers.keys() == recorded.keys()
    found = {name: _differences(recorded[name], answers[name]) for name in recorded}
    assert {name: paths for name, paths in found.items() if paths and name not in _DIFFERENCES} == {}
    for name, listed in _DIFFERENCES.items():
        beyond = [path for path in found[name] if not any(path.startswith(known) for known in listed)]
        assert not beyond, (name, beyond)
        assert all(any(path.startswith(known) for path in found[name]) for known in listed), (
            name,
            found[name],
        )


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_host_answers_as_the_extension_does(make_host: Any, tmp_path: Path) -> None:
    """All 62 scenarios are answered as recorded, but for the list, and so are the payloads handed to the SDK."""
    _check_answers(_ask(make_host, tmp_path))
    _check_payloads(tmp_path / "payloads")


def _versions(path: Path) -> list[tuple[int, str]]:
    """Return the versions in the last payload of the scenario `versions`, with the types of their events."""
    history = _payloads(path)["versions"]["history"]
    return [(each["EventType"], each["Version"]) for each in history if "Version" in each]


def test_a_default_version_is_all_that_changes_an_answer(make_host: Any, tmp_path: Path) -> None:
    """With defaultVersion 1 the scenario `versions` is answered as without one, but for the version.

    Status, output and result name it, and the SDK is handed the versions that the recorded payload holds,
    which was recorded with that setting.
    """
    host_json = json.dumps({"version": "2.0", "extensions": {"durableTask": {"defaultVersion": "1"}}})
    answer = _ask(make_host, tmp_path, "versions", host_json=host_json)["versions"]
    expected = json.loads((_RECORDINGS / "extension.json").read_text())["versions"]
    paths = [".history[0].Result", ".status.output", ".status.version"]
    assert _differences(expected, answer) == paths
    assert answer["status"]["version"] == answer["status"]["output"] == "1"
    assert _versions(tmp_path / "payloads") == _versions(_RECORDINGS / "contexts.jsonl")
