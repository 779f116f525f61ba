"""Drives the app in apps/durable through the durable HTTP API of a host and records what it answers.

    python durable_scenarios.py RPC_URL OUT.json [SCENARIO...]

Ids, times and addresses are made neutral, so that two hosts can be compared. RPC_URL is the address that a
durable client of the app gets, such as http://127.0.0.1:17071/durabletask/.
"""

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from durable_driver import RUN, Driver, Facts, as_sdk, record, run_simple  # type: ignore[import-not-found]  # beside it

SCENARIOS: dict[str, Callable[[Any], dict[str, Any]]] = {}


def simple(label: str, name: str, body: Any = None, timeout_s: float = 60, history: bool = True) -> None:
    """Add a scenario that only runs an orchestration."""
    SCENARIOS[label] = partial(
        run_simple, label=label, name=name, body=body, timeout_s=timeout_s, with_history=history
    )


simple("chain_none", "chain")
simple("chain_int_http", "chain", None)
simple("chain_sdk", "chain", as_sdk(4))
simple("fan5", "fan", {"n": 5}, history=False)
simple("fan200", "fan", {"n": 200}, history=False, timeout_s=120)
simple("any_of", "any_of", history=False)
simple("two_timers", "two_timers")
simple("timed_out", "event_or_timer", {"s": 1})
simple("parent", "parent")
simple("grandparent", "grandparent", history=False, timeout_s=120)
simple("failing", "failing")
simple("caught", "caught")
simple("failing_child", "failing_child")
simple("caught_child", "caught_child")
simple("raises_first", "raises_first")
simple("raises_later", "raises_later")
simple("retried_ok", "retried", {"key": f"ro-{RUN}", "until": 3, "most": 5})
simple("retried_exhausted", "retried", {"key": f"re-{RUN}", "until": 9, "most": 3})
simple("retried_child", "retried_child", {"key": f"rc-{RUN}", "until": 3})
simple("fan_of_retries", "fan_of_retries", {"key": f"fr-{RUN}"}, timeout_s=30)
simple("fan_with_failure", "fan_with_failure")
simple("again", "again", {"sum": 0, "left": 3})
simple("statuses", "statuses")
simple("huge_status", "huge_status", timeout_s=20)
simple("input_dict", "returns_input", {"a": [1, {"b": None}], "ü": "é"})
simple("input_sdk_list", "returns_input", as_sdk([1, 2]))
simple("input_sdk_str", "returns_input", as_sdk("plain"))
simple("input_http_list", "returns_input", [1, 2])
simple("input_http_int", "returns_input", 5)
simple("input_http_str", "returns_input", "plain")
simple("returns_none", "returns_none")
simple("returns_large", "returns_large", {"n": 150000}, history=False)
simple("all_shapes", "all_shapes")
simple("big_int", "big_int")
simple("unserialisable", "unserialisable")
simple("nested", "nested", timeout_s=90)
simple("ids", "ids", history=False)
simple("versions", "versions")
simple("unknown_activity", "unknown_activity", timeout_s=20)
simple("unknown_child", "unknown_child", timeout_s=20)
simple("changes_mind", "changes_mind", timeout_s=20)


def _list(driver: Driver, prefix: str, **query: str) -> tuple[int, Any]:
    code, content, _ = driver.call("GET", "instances", instanceIdPrefix=prefix, **query)
    return code, content


def events(driver: Driver) -> Facts:
    """Events under names that differ in case; late, missing and unreadable ones."""
    instance = driver.begin("three_events", f"ev-{RUN}")
    codes = [
        driver.send(instance, name, body)[0] for name, body in (("e", {"x": 1}), ("E", "text"), ("e", 3))
    ]
    document = driver.wait(instance, timeout_s=5)[1]  # names differ in case: it still waits for one
    bad = driver.call("POST", f"instances/{instance}/raiseEvent/e", raw="{not json")[:2]
    return {
        "codes": codes,
        "status": document,
        "bad": bad,
        "missing": driver.send(f"none-{RUN}", "e", 1),
        "late": driver.send(instance, "e", 1),
    }


def event_sdk_text(driver: Driver) -> Facts:
    """An event as the SDK's client sends it."""
    instance = driver.begin("event_or_timer", f"evs-{RUN}", {"s": 30})
    return {"a": driver.send(instance, "go", as_sdk({"x": 1}))[0], "status": driver.wait(instance)[1]}


def event_null(driver: Driver) -> Facts:
    """An event that is null, and one without a body."""
    first = driver.begin("event_or_timer", f"evn-{RUN}", {"s": 30})
    null = driver.call("POST", f"instances/{first}/raiseEvent/go", raw="null")[:2]
    status = driver.wait(first)[1]
    second = driver.begin("event_or_timer", f"evm-{RUN}", {"s": 30})
    empty = driver.call("POST", f"instances/{second}/raiseEvent/go", raw="")[:2]
    return {"a": null, "status": status, "b": empty, "status2": driver.wait(second, timeout_s=3)[1]}


def event_early(driver: Driver) -> Facts:
    """An event that comes before it is awaited."""
    instance = driver.begin("wait_late", f"evl-{RUN}")
    return {"a": driver.send(instance, "early", {"n": 1})[0], "status": driver.wait(instance)[1]}


def events_by_name(driver: Driver) -> Facts:
    """Two names, in the other order and case."""
    instance = driver.begin("events_by_name", f"evb-{RUN}")
    driver.send(instance, "b", 2)
    driver.send(instance, "a", 1)
    return {"status": driver.wait(instance)[1]}


def event_large(driver: Driver) -> Facts:
    """An event of 200 KB."""
    instance = driver.begin("event_or_timer", f"evg-{RUN}", {"s": 60})
    code = driver.send(instance, "go", {"big": "z" * 200000})[0]
    document = driver.wait(instance)[1]
    return {
        "a": code,
        "length": len(json.dumps(document.get("output"))),
        "state": document.get("runtimeStatus"),
    }


def signals(driver: Driver) -> Facts:
    """An event for each turn of a loop, sent when the custom status asks for it."""
    instance = f"sig-{RUN}"
    driver.start("signals", instance)
    seen = []
    for number in range(3):
        status: Any = None
        for _ in range(200):
            document = driver.status(instance)[1]
            status = document.get("customStatus") if isinstance(document, dict) else document
            if isinstance(status, dict) and status.get("wait") == number:
                break
            time.sleep(0.1)
        seen.append(status)
        driver.send(instance, f"shards-{number}", {"group": number})
    return {"seen": seen, "status": driver.wait(instance)[1]}


def terminate(driver: Driver) -> Facts:
    """Terminate a running, an ended and a missing instance."""
    instance = driver.begin("forever", f"ter-{RUN}")
    first = driver.post(instance, "terminate", reason="enough of it")
    document = driver.wait(instance)[1]
    again = driver.post(instance, "terminate", reason="again")
    missing = driver.post(f"none-{RUN}", "terminate", reason="x")
    full = driver.status(instance, showHistory="true", showHistoryOutput="true")[1]
    history = full.get("historyEvents")
    return {"a": first, "status": document, "again": again, "missing": missing, "history": history}


def suspend_resume(driver: Driver) -> Facts:
    """Suspend, send an event, resume."""
    instance = driver.begin("event_or_timer", f"sus-{RUN}", {"s": 60})
    facts: Facts = {"a": driver.post(instance, "suspend", reason="wait")}
    facts["suspended"] = driver.wait(instance, ("Suspended",), timeout_s=20)[1]
    facts["event"] = driver.send(instance, "go", {"v": 1})[0]
    time.sleep(2)
    facts["held"] = driver.status(instance)[1]
    facts["twice"] = driver.post(instance, "suspend", reason="wait2")
    facts["b"] = driver.post(instance, "resume", reason="go on")
    facts["done"] = driver.wait(instance, timeout_s=20)[1]
    facts["after"] = driver.post(instance, "suspend", reason="late")
    facts["after2"] = driver.post(instance, "resume", reason="late")
    facts["missing"] = driver.post(f"none-{RUN}", "suspend", reason="x")
    full = driver.status(instance, showHistory="true", showHistoryOutput="true")[1]
    return facts | {"history": full.get("historyEvents")}


def terminate_suspended(driver: Driver) -> Facts:
    """Terminate a suspended instance."""
    instance = driver.begin("forever", f"tsu-{RUN}")
    driver.post(instance, "suspend", reason="s")
    driver.wait(instance, ("Suspended",), timeout_s=20)
    return {
        "a": driver.post(instance, "terminate", reason="t"),
        "status": driver.wait(instance, timeout_s=20)[1],
    }


def rewind(driver: Driver) -> Facts:
    """Rewind a failed instance twice, then one that has ended otherwise, then a missing one."""
    instance = f"rew-{RUN}"
    driver.start("retried", instance, {"key": f"rw-{RUN}", "until": 3, "most": 1})
    facts: Facts = {"failed": driver.wait(instance)[1]}
    for first, second in (("a", "second"), ("b", "third")):
        facts[first] = driver.post(instance, "rewind", reason="try")
        time.sleep(1.5)
        facts[second] = driver.wait(instance, timeout_s=20)[1]
    facts["done"] = driver.post(instance, "rewind", reason="done")
    return facts | {"missing": driver.post(f"none-{RUN}", "rewind", reason="x")}


def restart(driver: Driver) -> Facts:
    """Restart under the same id, under a new one, and a missing instance."""
    instance = f"rst-{RUN}"
    driver.start("chain", instance, as_sdk(4))
    driver.wait(instance)
    code, answer = driver.post(instance, "restart", restartWithNewInstanceId="false")
    time.sleep(1)
    status = driver.wait(instance)[1]
    fresh_code, fresh = driver.post(instance, "restart", restartWithNewInstanceId="true")
    new_id = fresh.get("id") if isinstance(fresh, dict) else None
    return {
        "a": (code, answer.get("id") if isinstance(answer, dict) else answer),
        "status": status,
        "b": fresh_code,
        "fresh": new_id != instance,
        "status2": driver.wait(new_id)[1] if new_id else None,
        "missing": driver.post(f"none-{RUN}", "restart"),
    }


def duplicates(driver: Driver) -> Facts:
    """Start an id again while it runs, after it was terminated, and after it has completed."""
    instance = f"dup-{RUN}"
    first = driver.start("forever", instance)
    driver.wait(instance, ("Running",))
    second = driver.start("forever", instance)
    driver.post(instance, "terminate", reason="x")
    driver.wait(instance)
    facts: Facts = {"a": first[0], "b": second[:2]}
    for key, status, given in (("c", "status", 1), ("d", "status2", 2)):
        facts[key] = driver.start("chain", instance, as_sdk(given))[0]
        time.sleep(1)
        facts[status] = driver.wait(instance)[1]
    return facts


def bad_starts(driver: Driver) -> Facts:
    """Unknown functions, unreadable inputs and odd ids."""
    return {
        "unknown": driver.start("no_such_flow", f"bad-{RUN}")[:2],
        "malformed": driver.call("POST", f"orchestrators/chain/bad2-{RUN}", raw="{oops")[:2],
        "no_name": driver.call("POST", "orchestrators/")[:2],
        "id_hash": driver.start("chain", "%23abc")[:2],
        "id_slash": driver.start("chain", "a%2Fb")[:2],
        "id_question": driver.start("chain", "a%3Fb")[:2],
        "id_at": driver.start("chain", f"@at-{RUN}")[:1],
        "id_long": driver.start("chain", "x" * 200)[:2],
        "id_space": driver.start("chain", f"a b-{RUN}")[:1],
        "id_unicode": driver.start("chain", f"grü-{RUN}")[:1],
        "wrong_method": driver.call("GET", "orchestrators/chain")[:2],
        "case": driver.start("CHAIN", f"case-{RUN}", as_sdk(1))[0],
    }


def without_id(driver: Driver) -> Facts:
    """A start without an id."""
    code, answer, _ = driver.call("POST", "orchestrators/chain", as_sdk(1))
    new_id = answer.get("id") if isinstance(answer, dict) else None
    keys = sorted(answer) if isinstance(answer, dict) else answer
    return {"code": code, "id": new_id, "keys": keys, "status": driver.wait(new_id)[1] if new_id else answer}


def wait_for_completion(driver: Driver) -> Facts:
    """Starts that wait for the end."""
    path = "orchestrators"
    done = driver.call("POST", f"{path}/chain/wfc-{RUN}", as_sdk(1), timeout="20", pollingInterval="1")
    late = driver.call("POST", f"{path}/forever/wfd-{RUN}", timeout="2", pollingInterval="1")
    failed = driver.call("POST", f"{path}/failing/wfe-{RUN}", timeout="20", pollingInterval="1")
    odd = driver.call("POST", f"{path}/chain/wff-{RUN}", timeout="1", pollingInterval="5")
    keys = sorted(late[1]) if isinstance(late[1], dict) else late[1]
    return {"a": done[:2], "b": (late[0], keys), "c": failed[:2], "d": odd[:2]}


def get_status(driver: Driver) -> Facts:
    """Status answers of a missing and a failed instance."""
    instance = f"gst-{RUN}"
    driver.start("failing", instance)
    driver.wait(instance)
    return {
        "missing": driver.status(f"none-{RUN}")[:2],
        "failed": driver.status(instance)[0],
        "as_error": driver.status(instance, returnInternalServerErrorOnFailure="true")[:2],
        "no_input": driver.status(instance, showInput="false")[:2],
    }


def running_status(driver: Driver) -> Facts:
    """Status of a running instance."""
    instance = driver.begin("forever", f"run-{RUN}")
    code, document, headers = driver.status(instance)
    driver.post(instance, "terminate", reason="x")
    location, retry_after = "Location" in headers, headers.get("Retry-After")
    return {"code": code, "location": location, "doc": document, "retry_after": retry_after}


def listing(driver: Driver) -> Facts:
    """Lists with filters and pages."""
    for number in range(5):
        driver.start("chain", f"lst{number}-{RUN}", as_sdk(number))
    for number in range(5):
        driver.wait(f"lst{number}-{RUN}")
    code, first = _list(driver, "lst", top="2")
    ids: set[str] = set()
    token = ""
    for _ in range(20):
        _, page, headers = driver.call("GET", "instances", instanceIdPrefix="lst", top="2", token=token)
        ids |= {each["instanceId"] for each in page if RUN in each["instanceId"]}
        token = next(
            (value for key, value in headers.items() if key.lower() == "x-ms-continuation-token"), ""
        )
        if not token:
            break
    one = f"lst1-{RUN}"
    return {
        "first": (code, len(first)),
        "ids": sorted(ids),
        "one": _list(driver, f"lst0-{RUN}")[1],
        "none": _list(driver, f"nothing-{RUN}"),
        "done": _list(driver, one, runtimeStatus="Completed"),
        "both": _list(driver, one, runtimeStatus="Running,Failed"),
        "wrong": _list(driver, one, runtimeStatus="Nonsense"),
        "future": _list(driver, one, createdTimeFrom="2999-01-01T00:00:00Z"),
        "bad_time": _list(driver, one, createdTimeFrom="nonsense"),
    }


def purging(driver: Driver) -> Facts:
    """Purge an ended, a purged and a running instance, and by filters."""
    instance = f"pur-{RUN}"
    driver.start("chain", instance, as_sdk(1))
    driver.wait(instance)
    facts: Facts = {"a": driver.call("DELETE", f"instances/{instance}")[:2]}
    facts["gone"] = driver.status(instance)[:2]
    facts["twice"] = driver.call("DELETE", f"instances/{instance}")[:2]
    running = driver.begin("forever", f"pus-{RUN}")
    facts["running"] = driver.call("DELETE", f"instances/{running}")[:2]
    facts["still"] = driver.status(running)[0]
    driver.post(running, "terminate", reason="x")
    facts["no_filter"] = driver.call("DELETE", "instances")[:2]
    span = {"createdTimeFrom": "1999-01-01T00:00:00Z", "createdTimeTo": "1999-01-02T00:00:00Z"}
    return facts | {"none": driver.call("DELETE", "instances", **span)[:2]}


def long_timer(driver: Driver) -> Facts:
    """A timer of ten days, which the extension makes of shorter ones."""
    instance = driver.begin("long_timer", f"ltm-{RUN}")
    time.sleep(2)
    full = driver.status(instance, showHistory="true")[1]
    driver.post(instance, "terminate", reason="x")
    return {"history": full.get("historyEvents"), "state": full.get("runtimeStatus")}


SCENARIOS |= {
    each.__name__: each
    for each in (
        events,
        event_sdk_text,
        event_null,
        event_early,
        events_by_name,
        event_large,
        signals,
        terminate,
        suspend_resume,
        terminate_suspended,
        rewind,
        restart,
        duplicates,
        bad_starts,
        without_id,
        wait_for_completion,
        get_status,
        running_status,
        listing,
        purging,
        long_timer,
    )
}


if __name__ == "__main__":
    found = record(sys.argv[1], {name: SCENARIOS[name] for name in sys.argv[3:] or SCENARIOS})
    Path(sys.argv[2]).write_text(json.dumps(found, indent=1))
