"""The notify command: send a test notice to the targets of a workload."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fleetscore.cli.options import asking_options
from fleetscore.cli.text import say

if TYPE_CHECKING:
    from fleetscore.fleet import FleetBase


@click.command(short_help="Send a test notice to each target of a workload.")
@click.option("--test", "workload", required=True, metavar="WORKLOAD", help="The workload.")
@click.option("--target", default="", metavar="NAME", help="Only this target, by the name of its variable.")
@asking_options
def notify(workload: str, target: str, fleet: FleetBase, as_json: bool) -> None:
    """Send a test notice to the webhook, the queue and the targets of [notify] of a workload, whatever kinds
    they want and when, and say what each answered.

    The addresses are those of this machine's environment, and with --host those of the app's. Exit code: 1 if
    a target did not take it, or there is none.
    """
    from fleetscore.cli.render import print_json, print_table

    tests = fleet.test_notices(workload, target)
    if as_json:
        print_json(tests)
    elif not tests:
        say(f"{workload} has no target. Add [[notify.targets]] to settings/{workload}.toml.")
    else:
        rows = [(test.target, test.style, test.refusal or "taken") for test in tests]
        print_table(("target", "style", "status"), rows)
    click.get_current_context().exit(0 if tests and not any(test.refusal for test in tests) else 1)
