"""Chromium, driven by its own driver: fresh profile, no talk with anybody, errors of the page collected."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars", "--window-size=1280,1000",
)  # fmt: skip


@contextmanager
def browser(*, has_script: bool = True) -> Iterator[Any]:
    """A selenium driver; fails the test with what to do when there is no browser on the machine."""
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    binary = next((found for name in _BROWSERS if (found := shutil.which(name))), None)
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.fail("There is no Chromium with its driver on this machine: run `make browser`.")
    options = ChromeOptions()
    options.binary_location = binary
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    if not has_script:
        options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for option in (*_OPTIONS, f"--user-data-dir={profile}"):
            options.add_argument(option)
        chrome = Chrome(options=options, service=Service(driver))
        try:
            yield chrome
        finally:
            chrome.quit()


def keep_picture(chrome: Any, folder: Path, name: str) -> Path:
    """A picture of what is shown, in the folder that FLEETSCORE_SCREENSHOTS names, else in `folder`."""
    path = Path(os.environ.get("FLEETSCORE_SCREENSHOTS", folder)) / f"dashboard-{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    assert chrome.save_screenshot(str(path))
    return path


def resize(chrome: Any, width: int, height: int, *, is_phone: bool = False) -> None:
    """Give the page a screen of that size."""
    told = {"width": width, "height": height, "deviceScaleFactor": 2 if is_phone else 1, "mobile": is_phone}
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", told)


def prefer(chrome: Any, scheme: str) -> None:
    """Ask for the light or the dark look."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
