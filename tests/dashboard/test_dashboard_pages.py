"""The pages: every view tells what happened, escapes what users wrote, carries the key, and stays small."""

import json
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

import pytest
from dashboard_store import (
    CANCELLED,
    EVIL,
    FAILURES,
    GOOD,
    LOG,
    MISSING,
    STOPPED,
    UNDERWAY,
    UNPUBLISHED,
    run_of,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_dashboard_markup import read

from fleetscore.dashboard.links import Links
from fleetscore.dashboard.page import render_page, security_headers
from fleetscore.dashboard.run_view import find_partitions
from fleetscore.dashboard.views import ViewRequest, read_view, read_view_request, show_error
from fleetscore.errors import FleetscoreError, InputError, MissingBlobError
from fleetscore.store.base import Store
from triggers.http_answers import answer_json

ROUND_2 = f"{run_of(FAILURES)}-r2"
ADDRESSES = [
    "",
    "workload=toy",
    f"workload=toy&before={run_of(STOPPED)}",
    *(f"run={run_of(window)}" for window in (GOOD, FAILURES, UNPUBLISHED, STOPPED, CANCELLED, UNDERWAY)),
    f"run={ROUND_2}",
    "run=toy-train-2026-01-02T00-2026-01-02T01",
    f"run={run_of(FAILURES)}&find=p1",
    f"run={run_of(FAILURES)}&outcome=failed&cause=bad_value",
    f"run={run_of(UNDERWAY)}&find=p",
    f"run={run_of(FAILURES)}&partition=p3",
    f"run={run_of(STOPPED)}&log=runs/{run_of(STOPPED)}/logs/shard-00000.stderr.txt",
    "view=results&workload=toy",
    f"view=results&workload=toy&window={FAILURES}&find=p1",
]


def shown(store: Store, query: str, code: str = "") -> str:
    """The page at that address."""
    now = datetime.now(UTC)
    asked = read_view_request([*parse_qsl(query), *([("code", code)] if code else [])])
    _, body = read_view(store, asked, now)
    return render_page(body, Links(code), now)


def text_of(html: str) -> str:
    """What a reader sees, with single spaces; style and script left out."""
    bare = re.sub(r"<(style|script)>.*?</\1>", "", html, flags=re.S)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", bare))


@pytest.mark.parametrize("query", ADDRESSES)
def test_a_page_is_small_and_loads_nothing(filled: Store, query: str) -> None:
    """Under 300 kB, one document, no address of anywhere else, no inline style or handler that the policy would refuse."""
    html = shown(filled, query)
    assert len(html.encode()) < 300_000
    found = read(html)
    names = {name for name, _ in found.attributes}
    assert not names & {"src", "style", "onload", "onclick", "srcset"}
    assert all(str(v).startswith("?") for name, v in found.attributes if name in ("href", "action"))
    assert "http://" not in html
    assert "https://" not in html


@pytest.mark.parametrize("query", ADDRESSES)
def test_every_link_carries_the_key_and_leads_to_a_page(filled: Store, query: str) -> None:
    """Each link of each page has the key it was asked for with, and answers."""
    html = shown(filled, query, code="a key/+&")
    links = {str(value) for name, value in read(html).attributes if name == "href"}
    assert links
    for link in sorted(links):
        parts = parse_qsl(link.removeprefix("?"))
        assert ("code", "a key/+&") in parts, link
        read_view(filled, read_view_request(parts), datetime.now(UTC))
    assert html.count('name="code"') == html.count("<form")


def test_without_a_key_no_link_names_one(filled: Store) -> None:
    """Who came with a header keeps it out of addresses."""
    assert "code=" not in shown(filled, "")


def test_the_overview_tells_every_window(filled: Store) -> None:
    """Each ending has its cell, with a sign and words; the window that never ran is told as well."""
    html = shown(filled, "")
    for window, words in (
        (GOOD, "published, all good"),
        (FAILURES, "published with failures, 3 not good: bad_value"),
        (UNPUBLISHED, "not published, 5 not good: bad_value"),
        (STOPPED, "stopped by an error: ValueError: the plan &lt;i&gt;broke&lt;/i&gt;"),
        (MISSING, "never run"),
        (CANCELLED, "cancelled"),
        (UNDERWAY, "under way"),
    ):
        assert f'aria-label="{window} {words}' in html, window
    assert "sensor_anomaly" in text_of(html)
    assert "No window ran yet." in text_of(html)


def test_a_run_tells_counts_causes_and_the_first_example(filled: Store) -> None:
    """All partitions are accounted for on the page, the causes with their example, whose story is one click away."""
    html = shown(filled, f"run={run_of(FAILURES)}")
    told = text_of(html)
    assert "partitions 33 expected" in told
    assert "✓ scored 30" in told
    assert "✕ failed 2" in told
    assert "bad_value" in told
    assert "It says fail." in told
    assert "ValueError: p30 cannot be scored" in told
    assert f"run={run_of(FAILURES)}&amp;partition=p30" in html
    assert f"followed by {ROUND_2}" in told
    assert f"builds on {run_of(FAILURES)}" in text_of(shown(filled, f"run={ROUND_2}"))


def test_a_run_under_way_tells_how_far_it_is(filled: Store) -> None:
    """Phase, done, what is not good so far, time left; the page refreshes itself with and without a script."""
    html = shown(filled, f"run={run_of(UNDERWAY)}")
    told = text_of(html)
    for words in ("▸ scoring", "4 of 10 shards", "not good 1 so far", "time left", "throughput", "to do 18"):
        assert words in told, words
    assert 'data-every="1500"' in html
    assert "<noscript><meta http-equiv=" in html
    assert "data-every" not in shown(filled, f"run={run_of(GOOD)}").split("</head>")[1].split("<script>")[0]


def test_why_nothing_was_published_is_said_first(filled: Store) -> None:
    """The threshold's sentence, and the error that stopped a run, escaped."""
    assert "5 of 20 partitions failed or were quarantined" in text_of(
        shown(filled, f"run={run_of(UNPUBLISHED)}")
    )
    assert "ValueError: the plan &lt;i&gt;broke&lt;/i&gt;" in shown(filled, f"run={run_of(STOPPED)}")
    assert "The run was cancelled." in text_of(shown(filled, f"run={run_of(CANCELLED)}"))


@pytest.mark.parametrize(
    "query",
    [
        f"run={run_of(FAILURES)}",
        f"run={run_of(FAILURES)}&outcome=failed",
        f"run={run_of(FAILURES)}&find=%3Cscript%3E",
    ],
)
def test_a_partition_named_like_a_script_is_only_text(filled: Store, query: str) -> None:
    """A key that is markup shows as it is written and adds no element."""
    html = shown(filled, query)
    scripts = [name for name in read(html).tags if name == "script"]
    assert scripts == []
    assert EVIL in read(html).text
    assert "<script>alert" not in html


def test_the_story_of_a_partition_named_like_a_script(filled: Store) -> None:
    """Found by its whole key, its story says the cause and what to do next."""
    now = datetime.now(UTC)
    data, body = read_view(filled, ViewRequest({"run": run_of(FAILURES), "find": EVIL}), now)
    assert (data.partition, data.cause) == (EVIL, "bad_value")
    html = render_page(body, Links(), now)
    assert "script" not in read(html).tags
    assert "fleetscore retry" in read(html).text


def test_a_search_finds_by_part_of_the_key_and_shows_the_first_fifty(filled: Store) -> None:
    """The count is of all, the lines are few, and the case does not matter."""
    matches = find_partitions(filled, run_of(FAILURES), text="P1")
    assert (matches.found, matches.of) == (11, 33)
    assert [m.partition for m in matches.first][:3] == ["p1", "p10", "p11"]
    assert find_partitions(filled, run_of(FAILURES), outcome="late").first[0].partition == "p31"
    assert find_partitions(filled, run_of(UNDERWAY)).found == 30
    assert "0 of 33 partitions" in shown(filled, f"run={run_of(FAILURES)}&find=nobody")


def test_ten_thousand_partitions_are_never_listed(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is found, at most fifty are shown, and the page says so."""
    from fleetscore.dashboard import run_view

    monkeypatch.setattr(run_view, "_MOST_MATCHES", 5)
    html = shown(filled, f"run={run_of(GOOD)}&outcome=scored")
    assert "30 of 30 partitions" in html
    assert html.count("&amp;partition=") == 5
    assert "the first 5 are shown" in html


def test_a_log_is_shown_as_text_and_nothing_else_of_the_store_is(filled: Store) -> None:
    """The log's text is escaped; a path that is no log of this run is not found."""
    run = run_of(STOPPED)
    assert LOG.strip() in read(shown(filled, f"run={run}&log=runs/{run}/logs/shard-00000.stderr.txt")).text
    for path in (
        f"runs/{run}/run.json",
        f"runs/{run_of(GOOD)}/run.txt",
        "settings/toy.toml",
        f"runs/{run}/../x.txt",
    ):
        with pytest.raises(FleetscoreError):
            shown(filled, f"run={run}&log={path}")


@pytest.mark.parametrize("query", ADDRESSES)
def test_the_data_of_a_page_is_json_too(filled: Store, query: str) -> None:
    """What the page shows can be read by a machine."""
    data, _ = read_view(filled, read_view_request(parse_qsl(query)), datetime.now(UTC))
    told: Any = json.loads(answer_json(data).get_body())
    assert isinstance(told, dict)
    assert told


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("colour=red", "colour"),
        ("format=xml", "format"),
        ("view=everything", "view"),
        ("view=results", "workload"),
    ],
)
def test_a_wrong_address_is_refused_by_name(filled: Store, query: str, field: str) -> None:
    """The error names the parameter and what is known."""
    with pytest.raises(InputError) as caught:
        shown(filled, query)
    assert caught.value.field == field
    assert caught.value.fix


def test_an_error_is_a_page_with_what_to_do_next(filled: Store) -> None:
    """The message, the advice, a way back, all escaped."""
    with pytest.raises(MissingBlobError) as caught:
        shown(filled, "run=<b>nope")
    html = show_error(caught.value, ViewRequest({"run": "<b>nope", "code": "k"}), datetime.now(UTC))
    assert "There is no run '<b>nope'." in read(html).text
    assert "b" not in read(html).tags
    assert "?code=k" in html


def test_the_policy_allows_the_page_its_own_style_and_script_only(filled: Store) -> None:
    """The hashes in the policy are those of what stands in the page."""
    import base64
    import hashlib

    html = shown(filled, f"run={run_of(UNDERWAY)}")
    policy = security_headers()["Content-Security-Policy"]
    for name in ("style", "script"):
        (content,) = re.findall(rf"<{name}>(.*?)</{name}>", html, flags=re.S)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert security_headers()["Referrer-Policy"] == "no-referrer"


ANYTHING = st.text(max_size=30) | st.sampled_from(
    [
        "",
        ".",
        "..",
        "/",
        "p1",
        "../../etc/passwd",
        "\x00",
        "a" * 2000,
        "toy",
        run_of(FAILURES),
        GOOD,
        "2026-01-01T99",
        "results",
        "scored",
    ]
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    run=st.sampled_from(["", run_of(FAILURES), run_of(UNDERWAY), run_of(STOPPED), "nope", "../x"]) | ANYTHING,
    given_pairs=st.dictionaries(
        st.sampled_from(["workload", "window", "before", "partition", "find", "outcome", "cause", "log"]),
        ANYTHING,
        max_size=4,
    ),
    view=st.sampled_from(["", "results"]),
)
def test_no_address_makes_it_stumble(filled: Store, run: str, given_pairs: dict[str, str], view: str) -> None:
    """Whatever stands in an address, the answer is a page or an error that says what to do, and never anything else."""
    pairs = [*given_pairs.items(), *([("run", run)] if run else []), *([("view", view)] if view else [])]
    now = datetime.now(UTC)
    try:
        data, body = read_view(filled, read_view_request(pairs), now)
    except FleetscoreError as error:
        html = show_error(error, ViewRequest(dict(pairs)), now)
    else:
        html = render_page(body, Links(), now)
        answer_json(data)
    assert len(html) < 300_000
    assert read(html).tags.count("script") <= 1


class WatchedStore:
    """A store that notes which paths are read."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.read_paths: list[str] = []
        self.listed: list[str] = []

    def read(self, path: str) -> bytes:
        """Read and note."""
        self.read_paths.append(path)
        return self._store.read(path)

    def read_tagged(self, path: str) -> tuple[bytes, str]:
        """Read and note."""
        self.read_paths.append(path)
        return self._store.read_tagged(path)

    def open(self, path: str) -> Any:
        """Open and note."""
        self.read_paths.append(path)
        return self._store.open(path)

    def list(self, prefix: str, most: int | None = None) -> Any:
        """List and note: what a listing names may have been read before."""
        self.listed.append(prefix)
        return self._store.list(prefix, most)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def test_overview_and_history_read_no_run(filled: Store) -> None:
    """Neither a run's record nor its ledger is read for any list: only the index and a few small records of the workload."""
    watched: Any = WatchedStore(filled)
    read_view(watched, ViewRequest({}), datetime.now(UTC))
    read_view(watched, ViewRequest({"workload": "toy"}), datetime.now(UTC))
    assert "index/toy/" in watched.listed
    assert not [path for path in watched.read_paths if path.startswith("runs/")]


def test_a_run_reads_no_ledger(filled: Store) -> None:
    """A run's page is told from its record and its timeline, however many partitions it has."""
    watched: Any = WatchedStore(filled)
    read_view(watched, ViewRequest({"run": run_of(GOOD)}), datetime.now(UTC))
    assert {path.rsplit("/", 1)[1] for path in watched.read_paths} == {"run.json", "timeline.json"}
