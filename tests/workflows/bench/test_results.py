"""Figures by class: means say what they cover."""

from __future__ import annotations

import pytest

from tilepress.workflows.bench.results import BenchImage, BenchResult, class_groups


def measured(kind: str, *, flat: bool, ours: int, theirs: int) -> BenchImage:
    return BenchImage(
        path=kind,
        kind=kind,
        flat=flat,
        shape=(10, 10),
        dtype="uint16",
        samples=100,
        raw_bytes=200,
        sizes={"tilepress": ours, "jpegxl": theirs},
        seconds=0.0,
    )


class TestMeansSayWhatTheyCover:
    """A volume gains more than a slice: one mean over both would hide either."""

    def test_flat_and_deep_classes_apart(self):
        result = BenchResult(
            codecs=("tilepress", "jpegxl"),
            images=[
                measured("ct", flat=True, ours=98, theirs=100),
                measured("mr", flat=True, ours=96, theirs=100),
                measured("bands", flat=False, ours=80, theirs=100),
            ],
        )
        means = result.to_json()["means_percent"]
        assert means["… of 2-D images"]["tilepress to jpegxl"] == pytest.approx(-3)
        assert means["… of volumes and bands"]["tilepress to jpegxl"] == pytest.approx(-20)
        assert means["mean over classes"]["tilepress to jpegxl"] == pytest.approx(-26 / 3)

    def test_one_class_has_no_mean(self):
        alone = BenchResult(
            codecs=("tilepress", "jpegxl"), images=[measured("ct", flat=True, ours=9, theirs=10)]
        )
        assert class_groups(alone) == {}
