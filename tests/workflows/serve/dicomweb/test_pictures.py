"""Rendered frames and thumbnails."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pydicom
import pytest
from starlette.testclient import TestClient

from tilepress.workflows.serve.dicomweb import pictures

from .conftest import Made

CT = "studies/1.2.1/series/1.2.1.5/instances/1.2.1.5.2"
CINE = "studies/1.2.2/series/1.2.2.1/instances/1.2.2.1.1"
JPEG = "studies/1.2.2/series/1.2.2.2/instances/1.2.2.2.1"


def _png(client: TestClient, address: str) -> np.ndarray:
    answer = client.get(address, headers={"accept": "image/png"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    return np.asarray(imagecodecs.png_decode(answer.content))


class TestRendered:
    def test_by_the_window_of_the_header(self, dicomweb: TestClient, made: Made) -> None:
        ds = pydicom.dcmread(made.ct[1])
        shown = (ds.pixel_array - (2048 - 0.5)) / 1023 + 0.5
        want = np.rint(np.clip(shown, 0, 1) * 255)
        np.testing.assert_array_equal(_png(dicomweb, f"{CT}/rendered"), want)

    def test_by_a_window_that_is_asked_for(self, dicomweb: TestClient, made: Made) -> None:
        values = pydicom.dcmread(made.ct[1]).pixel_array.astype(float)
        step = _png(dicomweb, f"{CT}/rendered?window=2000,1,linear")
        np.testing.assert_array_equal(step, np.where(values > 1999.5, 255, 0))
        exact = _png(dicomweb, f"{CT}/rendered?window=2048,4096,linear-exact")
        np.testing.assert_array_equal(exact, np.rint(values / 4096 * 255))
        sigmoid = _png(dicomweb, f"{CT}/rendered?window=2048,1000,sigmoid")
        want = 255 / (1 + np.exp(-4 * (values - 2048) / 1000))
        np.testing.assert_array_equal(sigmoid, np.rint(want))

    def test_frames_and_colours(self, dicomweb: TestClient, made: Made) -> None:
        frame = _png(dicomweb, f"{CINE}/frames/4/rendered?window=127.5,255,linear-exact")
        np.testing.assert_array_equal(frame, pydicom.dcmread(made.cine).pixel_array[3])
        colours = _png(dicomweb, f"{JPEG}/frames/2/rendered").astype(int)
        want = pydicom.dcmread(made.jpeg).pixel_array[1].astype(int)
        assert np.abs(colours - want).max() <= 2

    def test_as_jpeg(self, dicomweb: TestClient) -> None:
        answer = dicomweb.get(f"{CT}/rendered", headers={"accept": "image/jpeg, image/png;q=0.5"})
        assert answer.headers["content-type"] == "image/jpeg"
        assert np.asarray(imagecodecs.jpeg8_decode(answer.content)).shape == (40, 52)
        small = dicomweb.get(f"{CT}/rendered?quality=10", headers={"accept": "image/jpeg"})
        assert len(small.content) < len(answer.content)

    def test_in_a_viewport(self, dicomweb: TestClient) -> None:
        whole = _png(dicomweb, f"{CT}/rendered")
        assert _png(dicomweb, f"{CT}/rendered?viewport=26,100").shape == (20, 26)
        assert _png(dicomweb, f"{CT}/rendered?viewport=104,104").shape == (80, 104)
        part = _png(dicomweb, f"{CT}/rendered?viewport=20,10,7,5,20,10")
        np.testing.assert_array_equal(part, whole[5:15, 7:27])
        turned = _png(dicomweb, f"{CT}/rendered?viewport=20,10,7,5,-20,10")
        np.testing.assert_array_equal(turned, part[:, ::-1])
        rest = _png(dicomweb, f"{CT}/rendered?viewport=12,30,40,10,,")
        np.testing.assert_array_equal(rest, whole[10:, 40:])


class TestThumbnails:
    @pytest.mark.parametrize(
        "address", ["studies/1.2.1", "studies/1.2.1/series/1.2.1.5", CT, f"{CINE}/frames/1"]
    )
    def test_of_every_level(self, dicomweb: TestClient, address: str) -> None:
        assert max(_png(dicomweb, f"{address}/thumbnail").shape) == pictures.THUMBNAIL
        assert max(_png(dicomweb, f"{address}/thumbnail?viewport=40,40").shape) == 40


class TestNonsense:
    @pytest.mark.parametrize(
        "query",
        [
            *("window=1", "window=a,b", "window=1,0", "window=1,0.5", "window=1,2,cubic"),
            *("window=nan,1", "window=1,inf", "window=1,2,3,4", "viewport=1", "viewport=0,5"),
            *("viewport=5000,5000", "viewport=9,9,0,0,53,40", "viewport=9,9,-1,0,10,10"),
            *("viewport=9,9,0,0,0,0", "viewport=9,9,x,0,1,1", "quality=0", "quality=101"),
            *("quality=x", "quality=-1", "annotation=patient", "quality=" + "9" * 500),
            *("quality=00500000", "quality=%D9%A3"),
        ],
    )
    def test_is_400(self, dicomweb: TestClient, query: str) -> None:
        answer = dicomweb.get(f"{CT}/rendered?{query}", headers={"accept": "image/png"})
        assert answer.status_code == 400, answer.content[:100]

    def test_what_else_is_refused(
        self, dicomweb: TestClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def status(address: str, accept: str = "image/png") -> int:
            return dicomweb.get(address, headers={"accept": accept}).status_code

        assert status(f"{CT}/rendered", "image/gif") == 406
        assert status(f"{CT}/rendered", "text/html") == 406
        assert status(f"{CINE}/frames/1,2/rendered") == 400
        assert status(f"{CINE}/frames/6/rendered") == 404
        monkeypatch.setattr(pictures, "MAX_SAMPLES", 1000)
        assert status(f"{CT}/rendered") == 413
