"""Forms of the dashboard: mute what is known, and end a mute."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from fleetscore.dashboard.links import Links
from fleetscore.dashboard.markup import Child, Markup, tag
from fleetscore.errors import InputError
from fleetscore.operations.attention.mutes import Mute, unmute
from fleetscore.operations.known_workloads import find_named_workload
from fleetscore.operations.normal_incidents import request_mute
from fleetscore.store.base import Store

REQUESTED_BY = "dashboard"
"""The name on record where nobody is signed in: a key does not name anybody."""

_MUTE = frozenset({"workload", "cause", "partition", "why", "until"})
_NORMAL = _MUTE | {"normal"}
_UNMUTE = frozenset({"workload", "unmute"})


def mute_form(
    workload: str, cause: str, partition: str, id_: str, links: Links, incident: str = ""
) -> Markup:
    """A closed form that mutes the cause, of the partitions of the pattern `partition` unless its box is
    cleared, or that marks the incident as normal where its box is ticked. Without a pattern it says that
    the mute is about all.
    """
    only = (
        tag("label", tag("input", type="checkbox", name="partition", value=partition, checked=True), f" only {partition}")
        if partition
        else tag("span", f"all of {workload}" + (f" with cause {cause}" if cause else ""), class_="quiet")
    )  # fmt: skip
    normal = (
        tag("label", tag("input", type="checkbox", name="normal", value=incident), " this incident is normal: learn it")
        if incident
        else None
    )  # fmt: skip
    fields: list[Child] = [
        _key(links),
        _hidden("workload", workload),
        _hidden("cause", cause),
        tag("input", name="why", required=True, maxlength=2000, placeholder="why", aria_label="why"),
        tag("input", type="date", name="until", required=True, aria_label="until"),
        only,
        normal,
        tag("button", "Mute"),
    ]
    form = tag("form", fields, method="post", action=links.overview())
    return tag("details", tag("summary", "mute"), form, id=id_, class_="mute")


def unmute_form(act: Mute, links: Links) -> Markup:
    """A button that ends the mute."""
    fields = [
        _key(links),
        _hidden("workload", act.workload),
        _hidden("unmute", act.id),
        tag("button", "Unmute"),
    ]
    return tag("form", fields, method="post", action=links.overview(), class_="mute")


def carry_out(store: Store, fields: Mapping[str, str], now: datetime, requested_by: str) -> str:
    """Do what the fields of a form ask for, on record under that name, and return the workload; InputError
    for fields of no form of ours.
    """
    names = set(fields) - {"code"}
    if not (names == _UNMUTE or _MUTE - {"partition"} <= names <= _NORMAL):
        raise InputError("The form is none of the dashboard's.", fix="Load the page again.", field="form")
    workload = find_named_workload(store, fields["workload"]).name
    if "unmute" in fields:
        unmute(store, workload, fields["unmute"], why="", now=now, requested_by=requested_by)
    else:
        names = {"normal"} if fields.get("normal") else {"partition", "cause"}
        request_mute(
            store, workload, why=fields["why"], until=fields["until"], now=now, requested_by=requested_by,
            **{name: fields.get(name, "") for name in names},
        )  # fmt: skip
    return workload


def _key(links: Links) -> Markup | None:
    return _hidden("code", links.code) if links.code else None


def _hidden(name: str, value: str) -> Markup:
    return tag("input", type="hidden", name=name, value=value)
