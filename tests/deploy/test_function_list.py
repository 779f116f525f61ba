"""The list of functions that a deployment is compared with."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "infra" / "hooks" / "functions.py"


def printed(*options: str, **environment: str) -> list[str]:
    """What the script prints in this environment, by a Python without any package."""
    command = [sys.executable, "-I", "-S", str(SCRIPT), *options]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


LOADED = (
    "import function_app\n"
    "print(*sorted(f.get_function_name() for f in function_app.app.get_functions()), sep='\\n')"
)


def loaded(**environment: str) -> list[str]:
    """The functions of the app as a host loads it in this environment."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_the_source_and_the_loaded_app_have_the_same_functions() -> None:
    """What the script reads from the source is what the host finds in the app on Azure."""
    assert printed() == loaded(WEBSITE_SITE_NAME="func-fleetscore")


def test_signing_in_is_expected_where_it_is_switched_on() -> None:
    """With the setting of sign-in, script and app both have the endpoints of signed-in callers; without it neither."""
    names = printed(FLEETSCORE_AUTH="easyauth")
    assert names == loaded(WEBSITE_SITE_NAME="func-fleetscore", FLEETSCORE_AUTH="easyauth")
    assert set(names) - set(printed()) == {"serve_signed_in"}


def test_the_warm_up_is_there_for_the_local_host_only() -> None:
    """On Azure no function bears the name of the platform's placeholder; the local host finds its warm-up."""
    assert set(loaded()) - set(printed()) == {"warmup", "warm_scoring"}


def test_a_route_leads_to_its_function() -> None:
    """The function that answers at a route is found by it; a route of nobody gives nothing."""
    (name,) = printed("--route", "runs/{id}")
    assert name in printed()
    assert printed("--route", "nobody/answers/here") == []


def test_both_ways_to_declare_a_function_are_read(tmp_path: Path) -> None:
    """Decorated functions and loops over a tuple are found; inputs, other decorators and other loops are not functions."""
    for folder in ("activities", "orchestrators", "triggers"):
        (tmp_path / folder).mkdir()
    (tmp_path / "triggers" / "a.py").write_text(
        "@blueprint.route(route='a/b', methods=['GET'])\n"
        "@blueprint.durable_client_input(client_name='client')\nasync def one(req, client): ...\n"
        "@cache\ndef helper(): ...\n"
        "for flow in (two, three):\n    blueprint.orchestration_trigger(context_name='c')(flow)\n"
        "for name in (four, five):\n    print(name)\n"
    )
    found = runpy.run_path(str(SCRIPT))["list_functions"](tmp_path)
    assert [(f.name, f.route) for f in found] == [("one", "a/b"), ("three", ""), ("two", "")]
