"""Peers and ours are measured alike, on what they really decode to."""

from __future__ import annotations

import numpy as np
import pytest

from tilepress.codecs.ntc.codec import parse_model
from tilepress.codecs.ntc.klt import fit
from tilepress.codecs.weights import load_named
from tilepress.workflows.bench import lossy
from tilepress.workflows.bench.lossy import (
    Image,
    at_scales,
    curves,
    jpeg2000,
    main,
    ours,
    turned_jpeg2000,
)
from tilepress.workflows.bench.rd import bd_rate

MODEL = parse_model(load_named("ntc-1").data)


def pictured(bands: int) -> Image:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:96, :96]
    base = 900 + 500 * np.sin(x / 9) * np.cos(y / 13) + 30 * rng.normal(size=(96, 96))
    planes = np.stack([base * (1 + 0.1 * k) + 4 * rng.normal(size=(96, 96)) for k in range(bands)])
    samples = planes.astype(np.uint16)
    return Image("it", samples, bands, float(samples.max() - samples.min()))


class TestCurves:
    def test_every_codec_has_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lossy, "_QUALITIES", 6)
        found = curves(pictured(3), MODEL)
        others = {"jpeg2000", "jpegxl", "klt+jpeg2000", "joint+jpeg2000"}
        assert set(found) == {"ntc", "lapped", "wavelet"} | others
        for name, points in found.items():
            assert len(points) >= 5, name
            assert all(p.rate > 0 and 15 < p.psnr < 90 for p in points), name

    def test_bands_that_go_together_are_coded_together(self) -> None:
        image = pictured(3)
        rate = bd_rate(jpeg2000(image), turned_jpeg2000(image, fit))
        assert rate is not None
        assert rate < -20
        with_matrix = bd_rate(jpeg2000(image), ours(image, MODEL))
        assert with_matrix is not None
        assert with_matrix < -20

    def test_what_decodes_otherwise_is_no_size(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lossy, "decode_chunk", lambda payload, shape, *_: np.zeros(shape))
        with pytest.raises(AssertionError, match="other samples"):
            ours(pictured(1), MODEL)


class TestTheCommand:
    def test_prints_a_line_for_each_image(self, tmp_path, capsys, monkeypatch) -> None:
        monkeypatch.setattr(lossy, "_QUALITIES", 4)
        monkeypatch.setattr(lossy, "images", lambda files, tell: [(files[0], pictured(1)[1], 1)])
        weights = tmp_path / "m.safetensors"
        weights.write_bytes(load_named("ntc-1").data)
        assert main(["a=x.tif", "b=y.tif", "--volume", "b", "--model", str(weights)]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split()[0] for line in lines] == ["a", "b"]
        assert all("jpeg2000" in line and "%" in line for line in lines)

    def test_tells_of_scales(self, tmp_path, capsys, monkeypatch) -> None:
        monkeypatch.setattr(lossy, "images", lambda files, tell: [(files[0], pictured(1)[1], 1)])
        weights = tmp_path / "m.safetensors"
        weights.write_bytes(load_named("ntc-1").data)
        assert main(["a=x.tif", "--model", str(weights), "--scales"]) == 0
        (line,) = capsys.readouterr().out.splitlines()
        assert [word for word in line.split() if "/" in word] == ["1/2", "1/4", "1/8"]

    def test_scales_are_near_to_means(self) -> None:
        assert all(share > 0 and db > 25 for share, db in at_scales(pictured(2), MODEL))
