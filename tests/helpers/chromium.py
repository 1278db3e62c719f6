"""Debian's Chromium without a screen, driven by its driver."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
"""It asks nothing of the network by itself; tests run as root in containers."""


def missing_for_a_browser() -> str | None:
    """Return what a test in a browser lacks here; None where all is there."""
    for program in ("chromium", "chromedriver"):
        if shutil.which(program) is None:
            return f"no browser: {program} is not installed"
    if importlib.util.find_spec("selenium") is None:
        return "no browser: selenium is not installed (extra test)"
    return None


@contextmanager
def running_chromium(profile: Path, width: int = 1280, height: int = 800) -> Iterator[Any]:
    """Start a browser with a profile of its own; it ends with the block."""
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = str(shutil.which("chromium"))
    for flag in (*_FLAGS, f"--window-size={width},{height}", f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()
