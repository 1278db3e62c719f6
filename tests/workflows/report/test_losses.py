"""One line tells what lossy coding did to the images of a run."""

from __future__ import annotations

from typing import Any

import pytest

from tilepress.workflows.report.losses import Losses


def told(psnr_db: float | None, largest: float, bits: float) -> dict[str, Any]:
    return {"psnr_db": psnr_db, "max_error": largest, "bits_per_sample": bits}


@pytest.mark.parametrize(
    ("losses", "text"),
    [
        ([], ""),
        (
            [told(45.04, 12.0, 0.5)],
            "lossy: 1 image, PSNR 45.0 dB, 0.5 bits a sample, largest error 12",
        ),
        (
            [told(45.0, 12.0, 0.5), told(47.26, 3.5, 0.3125)],
            "lossy: 2 images, PSNR 45.0 to 47.3 dB, 0.312 to 0.5 bits a sample, largest error 12",
        ),
        (
            [told(45.0, 2.0, 0.5), told(None, 0.0, 2.0)],
            "lossy: 2 images, PSNR 45.0 to ∞ dB, 0.5 to 2 bits a sample, largest error 2",
        ),
        ([told(None, 0.0, 2.0)], "lossy: 1 image, 2 bits a sample, no sample differs"),
    ],
)
def test_the_line(losses: list[dict[str, Any]], text: str) -> None:
    found = Losses()
    for loss in losses:
        found.add(loss)
    assert found.text == text


def test_as_json_it_has_no_infinity() -> None:
    found = Losses()
    found.add(told(None, 0.0, 2.0))
    assert found.to_json() == {"images": 1, "least_psnr_db": None, "largest_error": 0.0}
