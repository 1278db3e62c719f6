"""Write pictures of the viewer's pages, as docs/viewer.md describes them.

``python -m tests.helpers.screenshots OUT [--volume SRC] [--slide SRC]`` stores the bundled Landsat
bands, and what else is named, within an error of 8, serves them beside their originals, and writes
what a headless Chromium shows as PNG.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import tilepress
from tilepress.examples.data import landsat_bands

from .chromium import missing_for_a_browser, running_chromium

MAX_ERROR = 8

_CHOOSE = """
const one = document.querySelector(`select[aria-label='${arguments[0]}']`);
one.value = arguments[1]; one.dispatchEvent(new Event('change'));
"""
_SLIDE = """
const one = document.querySelector(`input[aria-label='${arguments[0]}']`);
one.value = arguments[1]; one.dispatchEvent(new Event('input'));
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Make an archive, serve it, and write what is seen."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("out", type=Path, help="folder for the pictures")
    parser.add_argument("--volume", type=Path, help="a DICOM series or another volume")
    parser.add_argument("--slide", type=Path, help="a slide")
    given = parser.parse_args(arguments)
    missing = missing_for_a_browser()
    if missing is not None:
        sys.exit(missing)
    given.out.mkdir(parents=True, exist_ok=True)
    sources = [one for one in (given.volume, given.slide) if one is not None]
    with tempfile.TemporaryDirectory(prefix="tilepress-seen-") as folder:
        for name in take(Path(folder), given.out, sources):
            sys.stdout.write(f"{given.out / name}.png\n")


def take(folder: Path, out: Path, sources: Sequence[Path]) -> Iterator[str]:
    """Yield the name of each picture as it is written; ``folder`` is for stores and profile."""
    bands = landsat_bands()
    archive = folder / "archive"
    options: dict[str, Any] = {"workers": 0, "tier": "fast", "progress": False}
    tilepress.compress(bands, archive, stack="*_B?.tif", max_error=MAX_ERROR, **options)
    for source in sources:
        tilepress.compress(source, archive, max_error=MAX_ERROR, **options)
    named = [str(bands[0].parent), *map(str, sources)]
    with _serving(archive, named) as address, running_chromium(folder / "profile") as browser:
        browser.get(address + "/")
        _wait(browser, "return [...document.images].every(i => i.naturalWidth > 0)")
        yield _saved(browser, out, "index")
        listed = json.loads(_read(f"{address}/api/stores"))["stores"]
        for key in sorted(store["key"] for store in listed):
            info = json.loads(_read(f"{address}/api/info/{quote(key)}"))
            browser.get(f"{address}/view/{quote(key)}")
            _wait(browser, "return document.body.dataset.ready")
            if info["is_volume"]:
                yield from _volume(browser, out, info)
            elif info["attributes"].get("proj:code"):
                yield from _map(browser, out)
            else:
                yield from _slide(browser, out)


def _map(browser: Any, out: Path) -> Iterator[str]:
    yield _saved(browser, out, "map")
    browser.execute_script(_CHOOSE, "Index", "vari")
    browser.execute_script(_SLIDE, "Brown at", "-0.4")
    browser.execute_script(_SLIDE, "Green at", "0.4")
    yield _saved(browser, out, "map-index")
    browser.execute_script(_CHOOSE, "Index", "")
    for way in ("swipe", "difference"):
        browser.execute_script(_CHOOSE, "Original", way)
        yield _saved(browser, out, f"map-{way}")


def _volume(browser: Any, out: Path, info: dict[str, Any]) -> Iterator[str]:
    yield _saved(browser, out, "volume")
    if info["original"]:
        for way in ("swipe", "difference"):
            browser.execute_script(_CHOOSE, "Original", way)
            yield _saved(browser, out, f"volume-{way}")


def _slide(browser: Any, out: Path) -> Iterator[str]:
    from selenium.webdriver import ActionChains

    yield _saved(browser, out, "slide")
    deep = browser.find_element("id", "deep")
    for _ in range(4):
        ActionChains(browser).double_click(deep).pause(1).perform()
    yield _saved(browser, out, "slide-near")


def _saved(browser: Any, out: Path, name: str) -> str:
    """Write what is seen once that has not changed for a second, and return its name."""
    seen: list[bytes] = [browser.get_screenshot_as_png()]
    for _ in range(60):
        time.sleep(1)
        seen.append(browser.get_screenshot_as_png())
        if seen[-1] == seen[-2]:
            break
    (out / f"{name}.png").write_bytes(seen[-1])
    return name


def _wait(browser: Any, script: str) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 60).until(lambda one: one.execute_script(script))


def _read(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=60) as answer:
        return bytes(answer.read())


@contextlib.contextmanager
def _serving(archive: Path, originals: Sequence[str]) -> Iterator[str]:
    command = [sys.executable, "-u", "-m", "tilepress", "serve", str(archive), "--port", "0"]
    for one in originals:
        command += ["--original", one]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found is not None, line
        try:
            yield found[0].rstrip("/")
        finally:
            server.send_signal(signal.SIGINT)


if __name__ == "__main__":
    main()
