"""The page of rates in a browser: it opens by itself, and what people move and choose shows."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from PIL import Image

from tilepress.workflows.bench.rate_distortion import run_rd
from tilepress.workflows.bench.rate_page import rd_page

from ...helpers.chromium import missing_for_a_browser, running_chromium

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")

CODECS = ("jpeg2000", "ntc", "webp")


def written(path: Path) -> Path:
    """Write three bands of 8 bits, brighter to the right, with some texture."""
    y, x = np.mgrid[:200, :260]
    base = 60 + x / 2 + 20 * np.sin(x / 5) * np.cos(y / 7)
    noise = np.random.default_rng(0).normal(0, 5, (3, *x.shape))
    image = (np.stack([base, 0.8 * base, 0.6 * base + 30]) + noise).clip(0, 255)
    with rasterio.open(
        path, "w", driver="GTiff", width=260, height=200, count=3, dtype="uint8",
        crs="EPSG:32631", transform=rasterio.Affine(10, 0, 5e5, 0, -10, 4e6),
    ) as file:  # fmt: skip
        file.write(image.astype(np.uint8))
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Open the page from a file, with no server near: it has to have all in itself."""
    missing = missing_for_a_browser()
    if missing is not None:
        pytest.skip(missing)
    folder = tmp_path_factory.mktemp("page")
    (folder / "in").mkdir()
    written(folder / "in/one.tif")
    np.save(folder / "in/two.npy", np.indices((90, 120)).prod(axis=0).astype(np.uint16))
    bench = run_rd([folder / "in"], CODECS, (30.0, 36.0, 42.0))
    (folder / "rates.html").write_text(rd_page(bench), encoding="utf-8")
    with running_chromium(folder / "profile") as driver:
        driver.get((folder / "rates.html").as_uri())
        yield driver
        assert not [one for one in driver.get_log("browser") if one["level"] == "SEVERE"]


def viewer(browser: Any) -> Any:
    return browser.find_elements("css selector", ".viewer")[0]


def put(browser: Any, one: Any, name: str, value: object) -> None:
    """Give a control a value as a hand does: it tells the page so."""
    browser.execute_script(
        "arguments[0][arguments[1]] = arguments[2];"
        "arguments[0].dispatchEvent(new Event('input', {bubbles: true}));",
        one, name, value,
    )  # fmt: skip


def pixels(image: Any) -> np.ndarray:
    data = base64.b64decode(image.get_attribute("src").partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(data)).convert("L")).astype(float)


class TestThePage:
    def test_has_a_curve_of_each_codec_within_its_frame(self, browser: Any) -> None:
        plots = browser.find_elements("css selector", "svg")
        assert len(plots) == 4, "two of each image"
        for plot in plots[:2]:
            frame = plot.rect
            lines = plot.find_elements("css selector", "polyline")
            assert len(lines) == len(CODECS)
            for line in lines:
                inside = line.rect
                assert inside["width"] > 40
                assert frame["x"] <= inside["x"] <= frame["x"] + frame["width"] - inside["width"]
                assert frame["y"] <= inside["y"] <= frame["y"] + frame["height"] - inside["height"]

    def test_texts_of_plots_do_not_lie_on_each_other(self, browser: Any) -> None:
        for plot in browser.find_elements("css selector", "svg"):
            boxes = [text.rect for text in plot.find_elements("css selector", "text")]
            for number, one in enumerate(boxes):
                for other in boxes[:number]:
                    apart = (
                        one["x"] + one["width"] <= other["x"] + 1
                        or other["x"] + other["width"] <= one["x"] + 1
                        or one["y"] + one["height"] <= other["y"] + 4
                        or other["y"] + other["height"] <= one["y"] + 4
                    )
                    assert apart, (one, other)

    def test_nothing_is_wider_than_the_window(self, browser: Any) -> None:
        for one in browser.find_elements("css selector", "details"):
            browser.execute_script("arguments[0].open = true", one)
        for width in (1280, 500):
            browser.set_window_size(width, 800)
            wide = browser.execute_script("return document.documentElement.scrollWidth")
            assert wide <= browser.execute_script("return window.innerWidth"), width
        browser.set_window_size(1280, 800)


class TestPicturesSideBySide:
    def test_are_there(self, browser: Any) -> None:
        under, over = viewer(browser).find_elements("css selector", "img")
        for one in (under, over):
            assert one.get_property("naturalWidth") == 260
        assert under.rect == over.rect

    def test_the_line_moves_and_cuts_the_right_one(self, browser: Any) -> None:
        box = viewer(browser)
        _, over = box.find_elements("css selector", "img")
        line, swipe = (
            box.find_element("css selector", name) for name in ("i", "input[type=range]")
        )
        for share in (20, 80):
            put(browser, swipe, "value", share)
            assert over.value_of_css_property("clip-path") == f"inset(0px 0px 0px {share}%)"
            across = line.rect["x"] + line.rect["width"] / 2 - over.rect["x"]
            assert across == pytest.approx(over.rect["width"] * share / 100, abs=3)

    def test_the_line_follows_the_pointer(self, browser: Any) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        box = viewer(browser)
        picture = box.find_element("css selector", ".swipe")
        swipe = box.find_element("css selector", "input[type=range]")
        put(browser, swipe, "value", 10)
        browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", picture)
        hand = ActionChains(browser).move_to_element(picture).click_and_hold()
        hand.move_by_offset(int(picture.rect["width"] * 0.3), 0).release().perform()
        assert float(swipe.get_property("value")) == pytest.approx(80, abs=2)
        ActionChains(browser).move_to_element(picture).perform()
        assert float(swipe.get_property("value")) == pytest.approx(80, abs=2), "nothing is pressed"

    def test_codecs_are_chosen_and_told(self, browser: Any) -> None:
        box = viewer(browser)
        left, right = box.find_elements("css selector", "select")
        under, over = box.find_elements("css selector", "img")
        source = pixels(under)
        put(browser, right, "value", "2")
        told = box.find_element("css selector", ".said").text
        assert told.startswith("left: source; right: ntc, ")
        assert "bits a sample" in told
        assert 0 < np.abs(pixels(over) - source).mean() < 20
        put(browser, left, "value", "2")
        assert np.array_equal(pixels(under), pixels(over))
        put(browser, left, "value", "0")

    def test_differences_are_maps_around_grey(self, browser: Any) -> None:
        box = viewer(browser)
        _, over = box.find_elements("css selector", "img")
        mark = box.find_element("css selector", "input[type=checkbox]")
        mark.click()
        shown = pixels(over)
        assert abs(np.median(shown) - 127.5) < 6
        assert shown.std() > 2
        assert "difference from the source" in box.find_element("css selector", ".said").text
        mark.click()
        assert abs(np.median(pixels(over)) - 127.5) > 0

    def test_of_another_image_stay_as_they_are(self, browser: Any) -> None:
        first, second = browser.find_elements("css selector", ".viewer")
        other = second.find_element("css selector", "input[type=range]")
        before = other.get_property("value")
        put(browser, first.find_element("css selector", "input[type=range]"), "value", 33)
        assert other.get_property("value") == before
