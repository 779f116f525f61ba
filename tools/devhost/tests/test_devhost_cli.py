"""The command line."""

import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[1]


def _devhost(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "devhost", *arguments], cwd=_ROOT, capture_output=True, text=True, timeout=60
    )


def test_start_lists_functions_and_logs_what_happens(features: Any) -> None:
    """The log has routes and schedules at the start, then one line per invocation and change of state."""
    features.output("chain", 3)
    log = features.log
    assert re.search(r"start: \[POST\] http://127.0.0.1:\d+/api/start/\{name\}", log)
    assert "yearly: timerTrigger 0 0 0 1 1 *" in log and "double: activityTrigger" in log
    assert re.search(r"Listening on http://127.0.0.1:\d+\n", log)
    assert re.search(r"activity double [0-9a-f]{32}#0: \d+\.\d{3} s, Succeeded", log)
    assert re.search(r"http start [0-9a-f-]{36}: \d+\.\d{3} s, Succeeded", log)
    assert re.search(r"chain [0-9a-f]{32}: Completed", log)


def test_commands_for_a_running_host(features: Any) -> None:
    """invoke runs and waits, list shows instances, purge deletes what has ended."""
    data = ["--data", str(features.data)]
    done = _devhost("invoke", "chain", '"3"', *data)
    assert (done.returncode, done.stdout) == (0, "112\n"), done.stdout
    assert "was started" in _devhost("invoke", "double", "2", *data).stdout
    failed = _devhost("invoke", "failing", '"\\"x\\""', *data)
    assert failed.returncode == 1 and "ValueError: x" in failed.stdout
    assert "the app has no function nobody" in _devhost("invoke", "nobody", *data).stdout
    assert "is not JSON" in _devhost("invoke", "chain", "{", *data).stdout
    assert re.search(r"  chain  Completed  \d{4}-", _devhost("list", "--status", "Completed", *data).stdout)
    assert re.fullmatch(r"\d+ instances deleted\n", _devhost("purge", "--before", "2100-01-01", *data).stdout)


def test_help_names_every_option() -> None:
    """--help documents all options of start."""
    text = _devhost("start", "--help").stdout
    for option in ("app", "--port", "--address", "--data", "--workers", "--enable-auth", "--verbose"):
        assert option in text


def test_docs_name_every_option_and_setting() -> None:
    """README.md has every option of every command, and every setting of host.json that the host reads."""
    text = (_ROOT / "README.md").read_text()
    for command in ("start", "invoke", "list", "purge"):
        assert f"devhost {command}" in text
        for option in re.findall(r"--[a-z-]+", _devhost(command, "--help").stdout):
            assert option in ("--help",) or option in text, (command, option)
    source = (_ROOT / "devhost" / "settings.py").read_text()
    for key in re.findall(r'(?:text|integer|boolean|span|choice)\("(\w+)"', source):
        assert key in text, key


def test_printed_text_of_functions_is_kept(make_host: Any, tmp_path: Path) -> None:
    """What a function prints reaches the log although its process is ended without ceremony."""
    source = """
import azure.functions as func
app = func.FunctionApp()
@app.timer_trigger(schedule="0 0 0 1 1 *", arg_name="timer", run_on_startup=True)
def speak(timer: func.TimerRequest) -> None:
    print("printed by a function")
"""
    host = make_host(source, "--workers", "1").start()
    for _ in range(1000):
        if "timer speak" in host.log:
            break
        time.sleep(0.01)
    host.kill()
    assert host.log.count("printed by a function") == 1


def test_commands_without_a_host_say_so(tmp_path: Path) -> None:
    """Without a running host the other commands end with code 1 and say how to start one."""
    done = _devhost("list", "--data", str(tmp_path))
    assert done.returncode == 1 and "python -m devhost start" in done.stdout


def test_taken_port_is_refused(features: Any, make_host: Any) -> None:
    """A port that is in use is refused before the app is loaded."""
    host = make_host("features", "--port", features.url.rpartition(":")[2])
    host.launch()
    assert host.process.wait(20) == 1 and "give another port with --port" in host.log
