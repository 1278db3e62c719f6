"""The pages in a browser: what people click, type and press changes what they see."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ...helpers.chromium import missing_for_a_browser, running_chromium

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture(scope="module")
def address(served: Path) -> Iterator[str]:
    """Return the address of ``tilepress serve``, which ends as with Ctrl-C."""
    missing = missing_for_a_browser()
    if missing is not None:
        pytest.skip(missing)
    with _serving(served) as found:
        yield found


@contextlib.contextmanager
def _serving(archive: Path, *options: str) -> Iterator[str]:
    command = [sys.executable, "-m", "tilepress", "serve", str(archive), "--port", "0", *options]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found is not None, line
        yield found[0].rstrip("/")
        server.send_signal(signal.SIGINT)
        assert server.wait(30) in (0, 130)


@pytest.fixture(scope="module")
def browser(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with running_chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture
def open_page(browser: Any, address: str) -> Iterator[Callable[[str], Any]]:
    """Return a function that opens a page and waits for it; no page may log an error."""
    from selenium.webdriver.support.ui import WebDriverWait

    def opened(path: str) -> Any:
        browser.get(address + path)
        ready = "return document.body.dataset.ready || document.querySelector('.card img')"
        WebDriverWait(browser, 60).until(lambda one: one.execute_script(ready))
        return browser

    yield opened
    errors = [one for one in browser.get_log("browser") if one["level"] == "SEVERE"]
    assert not errors


def _wait(browser: Any, script: str, *arguments: Any) -> Any:
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, 60).until(lambda one: one.execute_script(script, *arguments))


_PIXELS = """
const c = arguments[0], p = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
let sum = 0; for (let n = 0; n < p.length; n += 4) sum += p[n]; return sum / (p.length / 4);
"""


_LABEL = "document.querySelectorAll('.pane span')[arguments[0]].textContent"


def _labelled(browser: Any, pane: int, text: str) -> None:
    """Wait until a pane says which plane it shows: it does so once that is drawn."""
    _wait(browser, f"return {_LABEL} === arguments[1]", pane, text)


_DRAWN = """
const c = arguments[0], p = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
let sum = 0, count = 0;
for (let n = 0; n < p.length; n += 4) if (p[n + 3]) { sum += p[n]; count += 1; }
return sum / count;
"""


def _mean(browser: Any, canvas: Any) -> float:
    return float(browser.execute_script(_PIXELS, canvas))


def _wait_for_mean(browser: Any, canvas: Any, want: float) -> None:
    """Wait until what is drawn on a canvas has a mean: lines over it may change that a little."""
    from selenium.webdriver.support.ui import WebDriverWait

    def shows(one: Any) -> bool:
        mean = one.execute_script(_DRAWN, canvas)
        return mean is not None and abs(mean - want) < 6

    WebDriverWait(browser, 60).until(shows)


class TestTheIndex:
    def test_shows_thumbnails_and_finds_as_one_types(self, open_page: Any) -> None:
        browser = open_page("/")
        loaded = "return [...document.querySelectorAll('.card img')].every(i => i.naturalWidth > 0)"
        assert _wait(browser, loaded)
        assert browser.find_element("id", "count").text == "2 images"
        browser.find_element("id", "words").send_keys("volume")
        _wait(browser, "return document.querySelectorAll('.card').length === 1")
        assert browser.find_element("id", "count").text == "1 image"
        browser.find_element("css selector", ".card").click()
        _wait(browser, "return document.body.dataset.ready === 'volume'")
        assert browser.current_url.endswith("/view/deep/volume.zarr")

    def test_says_what_it_did_not_understand(self, open_page: Any) -> None:
        browser = open_page("/")
        browser.find_element("id", "time").send_keys("soon")
        _wait(browser, "return document.getElementById('count').textContent.includes('want e.g.')")
        browser.get_log("browser")  # the 400 itself


class TestAnImage:
    def test_is_drawn_and_follows_its_controls(self, open_page: Any) -> None:
        browser = open_page("/view/scene.zarr")
        canvas = browser.find_element("css selector", "#deep canvas")
        bright = self._settled(browser, canvas)
        assert bright > 5
        high = browser.find_elements("css selector", "input[aria-label='White at']")
        assert high
        assert all(len(one.get_attribute("value")) <= 6 for one in high)
        for one in high:
            browser.execute_script(
                "arguments[0].value = 2000; arguments[0].dispatchEvent(new Event('input'))", one
            )
        assert self._settled(browser, canvas, lambda mean: mean < bright / 2) < bright / 2

    def test_tells_the_samples_under_the_pointer(self, open_page: Any, served: Path) -> None:
        from selenium.webdriver import ActionChains

        import tilepress

        browser = open_page("/view/scene.zarr")
        canvas = browser.find_element("css selector", "#deep canvas")
        self._settled(browser, canvas)
        ActionChains(browser).move_to_element(canvas).move_by_offset(3, 3).perform()
        _wait(browser, "return document.getElementById('status').textContent.includes('row')")
        text = browser.find_element("id", "status").text
        column, row = (int(n) for n in re.findall(r"(?:column|row) (\d+)", text))
        values = [int(n) for n in re.findall(r": (\d+)", text)]
        image = tilepress.open(served / "scene.zarr").image
        assert values == image.isel(x=column, y=row).values.tolist()
        assert "EPSG:32631" in text

    def test_is_zoomed_by_a_double_click(self, open_page: Any) -> None:
        """The pointer stays over the same place: neighbours of it are fewer columns away."""
        from selenium.webdriver import ActionChains

        browser = open_page("/view/scene.zarr")
        canvas = browser.find_element("css selector", "#deep canvas")
        self._settled(browser, canvas)

        def column(offset: int) -> int:
            browser.execute_script("document.getElementById('status').textContent = ''")
            pointer = ActionChains(browser).move_to_element(canvas)
            pointer.move_by_offset(offset, 0).move_by_offset(0, 1).perform()
            told = "document.getElementById('status').textContent"
            _wait(browser, f"return {told}.includes('column')")
            return int(browser.execute_script(f"return {told}").split()[1].rstrip(","))

        before = column(60) - column(-60)
        ActionChains(browser).move_to_element(canvas).double_click().pause(1.5).perform()
        assert 0 < column(60) - column(-60) < 0.75 * before

    def test_shows_an_index_by_name_or_by_formula(self, open_page: Any, served: Path) -> None:
        from selenium.webdriver import ActionChains
        from selenium.webdriver.common.keys import Keys

        import tilepress

        browser = open_page("/view/scene.zarr")
        canvas = browser.find_element("css selector", "#deep canvas")
        plain = self._settled(browser, canvas)
        browser.find_element(
            "css selector", "select[aria-label='Index'] option[value=vari]"
        ).click()
        self._settled(browser, canvas, lambda mean: abs(mean - plain) > 1)
        formula = browser.find_element("css selector", "input[aria-label='Formula']")
        assert formula.get_attribute("value") == "(green - red) / (green + red - blue)"
        formula.clear()
        formula.send_keys("(b1 - b3) / (b1 + b9)", Keys.ENTER)
        _wait(browser, "return document.querySelector('.wrong').textContent.includes(\"'b9'\")")
        browser.get_log("browser")  # the 400 itself
        formula.clear()
        formula.send_keys("(b1 - b3) / (b1 + 2*b2)", Keys.ENTER)
        _wait(browser, "return document.querySelector(\"input[aria-label='Brown at']\") !== null")
        ActionChains(browser).move_to_element(canvas).move_by_offset(5, 5).perform()
        _wait(browser, "return document.getElementById('status').textContent.includes('index')")
        text = browser.find_element("id", "status").text
        column, row = (int(n) for n in re.findall(r"(?:column|row) (\d+)", text))
        b1, b2, b3 = (
            tilepress.open(served / "scene.zarr").image.values[:, row, column].astype(float)
        )
        shown = float(re.findall(r"index: (\S+)", text)[0])
        assert shown == pytest.approx((b1 - b3) / (b1 + 2 * b2), rel=1e-3)

    @staticmethod
    def _settled(
        browser: Any, canvas: Any, enough: Callable[[float], bool] = lambda mean: mean > 1
    ) -> float:
        from selenium.webdriver.support.ui import WebDriverWait

        def settled(_: Any) -> float | None:
            mean = _mean(browser, canvas)
            return mean if enough(mean) else None

        return float(WebDriverWait(browser, 60).until(settled))


class TestAVolume:
    def test_slices_by_keys_and_the_window_by_dragging(self, open_page: Any) -> None:
        from selenium.webdriver import ActionChains
        from selenium.webdriver.common.keys import Keys

        browser = open_page("/view/deep/volume.zarr")
        pane = browser.find_element("css selector", ".pane canvas")
        _labelled(browser, 0, "z 5 / 9")
        pane.send_keys(Keys.ARROW_UP)
        _labelled(browser, 0, "z 6 / 9")
        pane.send_keys(Keys.PAGE_DOWN)
        _labelled(browser, 0, "z 1 / 9")
        width = browser.find_element("css selector", "input[aria-label='Width']")
        before = float(width.get_attribute("value"))
        ActionChains(browser).move_to_element(pane).click_and_hold().move_by_offset(
            120, 0
        ).release().perform()
        assert float(width.get_attribute("value")) > 1.5 * before

    def test_a_click_moves_the_other_planes(self, open_page: Any) -> None:
        from selenium.webdriver import ActionChains

        browser = open_page("/view/deep/volume.zarr")
        pane = browser.find_element("css selector", ".pane canvas")
        ActionChains(browser).move_to_element(pane).move_by_offset(-60, -60).click().perform()
        for pane, middle in ((1, 21), (2, 26)):
            told = f"parseInt({_LABEL}.split(' ')[1])"
            _wait(browser, f"return {told} > 0 && {told} < {middle}", pane)
        _labelled(browser, 0, "z 5 / 9")

    def test_the_axial_plane_has_the_samples(self, open_page: Any, served: Path) -> None:
        """A window of all samples: the mean of the picture is that of the plane."""
        import tilepress

        browser = open_page("/view/deep/volume.zarr")
        for name, value in (("Level", 2048), ("Width", 4096)):
            browser.execute_script(
                "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))",
                browser.find_element("css selector", f"input[aria-label='{name}']"),
                value,
            )
        canvas = browser.find_element("css selector", ".pane canvas")
        shown = _wait(browser, _DRAWN, canvas)  # nothing is drawn before its samples are there
        plane = tilepress.open(served / "deep" / "volume.zarr").image.values[4]
        assert shown == pytest.approx(float(np.mean(plane)) * 255 / 4096, abs=3)


class TestAnOriginal:
    @pytest.fixture(scope="class")
    @staticmethod
    def page(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
        """Return a page of a store within an error of 60, served beside its original."""
        import tilepress

        folder = tmp_path_factory.mktemp("beside")
        (folder / "in").mkdir()
        noise = np.random.default_rng(1).integers(0, 120, (200, 240))
        np.save(folder / "in" / "noisy.npy", noise.astype(np.uint8))
        tilepress.compress(folder / "in", folder / "out", workers=0, tier="fast", max_error=60)
        with _serving(folder / "out", "--original", str(folder / "in")) as found:
            yield f"{found}/view/noisy.zarr"

    def test_under_a_swipe_is_left_of_what_is_stored(self, browser: Any, page: str) -> None:
        browser.get(page)
        _wait(browser, "return document.body.dataset.ready === 'image'")
        shown = {}
        for name in ("stored", "original", "difference"):
            self._choose(browser, name)
            shown[name] = self._settled(browser)
        assert len(set(shown.values())) == 3
        self._choose(browser, "swipe")
        slide = browser.find_element("css selector", "input[aria-label='Swipe']")
        for value, name in ((100, "original"), (0, "stored")):
            browser.execute_script(
                "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))",
                slide, value,
            )  # fmt: skip
            assert self._settled(browser) == pytest.approx(shown[name], abs=0.3)
        assert not [one for one in browser.get_log("browser") if one["level"] == "SEVERE"]

    def test_of_a_volume_is_in_all_three_planes(
        self, browser: Any, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        import tilepress

        folder = tmp_path_factory.mktemp("volume")
        (folder / "in").mkdir()
        volume = np.random.default_rng(2).integers(0, 120, (7, 40, 50)).astype(np.uint8)
        np.save(folder / "in" / "noisy.npy", volume)
        tilepress.compress(folder / "in", folder / "out", workers=0, tier="fast", max_error=60)
        stored = tilepress.open(folder / "out" / "noisy.zarr").image.values.astype(float)
        apart = np.abs(volume - stored)
        with _serving(folder / "out", "--original", str(folder / "in")) as found:
            browser.get(f"{found}/view/noisy.zarr")
            _wait(browser, "return document.body.dataset.ready === 'volume'")
            for name, value in (("Level", 90), ("Width", 20)):
                browser.execute_script(
                    "arguments[0].value = arguments[1];"
                    "arguments[0].dispatchEvent(new Event('input'))",
                    browser.find_element("css selector", f"input[aria-label='{name}']"), value,
                )  # fmt: skip
            bright, kept = (255 * np.clip((one - 80.0) / 20, 0, 1) for one in (volume, stored))
            assert abs(bright.mean() - kept.mean()) > 20, "they are told apart"
            at = (np.s_[3], np.s_[:, 20], np.s_[:, :, 25])
            for way, samples in (
                ("original", bright), ("difference", 255 * apart / apart.max()), ("stored", kept),
            ):  # fmt: skip
                self._choose(browser, way)
                for canvas, plane in zip(
                    browser.find_elements("css selector", ".pane canvas"), at, strict=True
                ):
                    _wait_for_mean(browser, canvas, float(samples[plane].mean()))
            self._choose(browser, "swipe")
            slide = browser.find_element("css selector", "input[aria-label='Swipe']")
            canvas = browser.find_element("css selector", ".pane canvas")
            for value, samples in ((100, bright), (0, kept)):
                browser.execute_script(
                    "arguments[0].value = arguments[1];"
                    "arguments[0].dispatchEvent(new Event('input'))", slide, value,
                )  # fmt: skip
                _wait_for_mean(browser, canvas, float(samples[3].mean()))
        assert not [one for one in browser.get_log("browser") if one["level"] == "SEVERE"]

    @staticmethod
    def _choose(browser: Any, value: str) -> None:
        browser.execute_script(
            "const s = document.querySelector(\"select[aria-label='Original']\");"
            "s.value = arguments[0]; s.dispatchEvent(new Event('change'))",
            value,
        )

    @staticmethod
    def _settled(browser: Any) -> float:
        """Return the mean of the picture once it has stayed the same for a second."""
        canvas = browser.find_element("css selector", "#deep canvas")
        means: list[float] = []
        for _ in range(120):
            time.sleep(0.25)
            means.append(_mean(browser, canvas))
            if len(means) > 5 and len(set(means[-5:])) == 1:
                return means[-1]
        raise AssertionError("the picture never settled")
