"""Tables of rates, distortions and speeds, for a terminal."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from rich.table import Table

from tilepress.workflows.bench.rate_codecs import PEAK
from tilepress.workflows.bench.rate_distortion import Curve, Point, RdBench, RdImage
from tilepress.workflows.bench.rate_speed import RateSpeeds, by_round

__all__ = ["rd_tables", "speed_table"]

_OVER = f"PSNR over {PEAK}"


def rd_tables(bench: RdBench) -> Iterator[Table]:
    """Yield bits a sample and PSNR of each image, then the mean BD-rates."""
    for image in bench.images:
        yield _rates(image)
    table = Table(title=f"BD-rate against {bench.codecs[0]}, %", title_justify="left")
    table.add_column("codec")
    table.add_column("mean", justify="right")
    table.add_column("images", justify="right")
    for name in bench.codecs[1:]:
        mean, count = bench.mean_bd_rate(name)
        table.add_row(name, "–" if mean is None else f"{mean:+.1f}", str(count))
    yield table


def _rates(image: RdImage) -> Table:
    shape = "×".join(map(str, image.shape))
    title = f"{image.name}, {shape} {image.dtype}: bits a sample, and PSNR over {image.peak:g}"
    table = Table(title=title, title_justify="left", caption=_OVER, caption_justify="left")
    table.add_column("codec")
    longest = max((len(curve.points) for curve in image.curves), default=0)
    for number in range(longest):
        table.add_column(f"rate {number + 1} (dB)", justify="right")
    table.add_column("BD-rate, %", justify="right")
    kinds = [kind for kind in _KINDS if any(_all(curve, kind) for curve in image.curves)]
    for kind in kinds:
        table.add_column(_KINDS[kind][0], justify="right")
    table.add_column("seam", justify="right")
    for curve in image.curves:
        cells = [_cell(point) for point in curve.points]
        cells += [""] * (longest - len(cells))
        bd = "" if curve.bd_rate_percent is None else f"{curve.bd_rate_percent:+.1f}"
        told = [_range(curve, kind) for kind in kinds]
        table.add_row(curve.codec, *cells, bd, *told, _seam(curve))
    return table


def _cell(point: Point) -> str:
    psnr = "exact" if point.psnr_db is None else f"{point.psnr_db:.1f}"
    return f"{point.bits_per_sample:.3f} ({psnr})"


_KINDS = {
    "gmsd": ("GMSD", ".3f"),
    "spectral_angle_deg": ("SAM, °", ".3f"),
    "ndvi_error": ("NDVI error", ".4f"),
    "hounsfield_bias": ("soft tissue, HU", "+.2f"),
}
"""Figures beside bits and PSNR, where an image has them: titles, and how they are written."""


def _all(curve: Curve, kind: str) -> list[float]:
    values = (getattr(point, kind) for point in curve.points)
    return [value for value in values if value is not None]


def _range(curve: Curve, kind: str) -> str:
    """Return a figure at the coarsest and the finest point of a curve."""
    found, form = _all(curve, kind), _KINDS[kind][1]
    return f"{found[0]:{form}} … {found[-1]:{form}}" if found else "–"


def _seam(curve: Curve) -> str:
    """Return the worst seam figure of a curve."""
    found = [point.seam for point in curve.points if point.seam is not None]
    return f"{max(found):.2f}" if found else "–"


def speed_table(speeds: RateSpeeds) -> Table:
    """Return speeds of all images together, by the median round."""
    title = (
        f"Speed near {speeds.target_db:g} dB, {speeds.threads} threads, {speeds.rounds} paired "
        f"rounds, load {speeds.load_before:g} before: million samples a second"
    )
    table = Table(title=title, title_justify="left", caption=_OVER, caption_justify="left")
    first = speeds.codecs[0]
    for column in ("codec", "images", "bits a sample", "dB", "peak", "encode", "decode"):
        table.add_column(column, justify="left" if column == "codec" else "right")
    for column in ("encode", "decode"):
        table.add_column(f"{column}, × {first}", justify="right")
    for name in speeds.codecs:
        rows = speeds.of(name)
        if not rows:
            continue
        samples = sum(row.samples for row in rows.values())
        bits = sum(row.bits_per_sample * row.samples for row in rows.values()) / samples
        known = [row.psnr_db for row in rows.values() if row.psnr_db is not None]
        cells = [str(len(rows)), f"{bits:.2f}", f"{statistics.mean(known):.1f}" if known else "–"]
        peaks = sorted({row.peak for row in rows.values()})
        cells.append(" … ".join(f"{peak:g}" for peak in dict.fromkeys((peaks[0], peaks[-1]))))
        for what in ("encode_s", "decode_s"):
            cells.append(f"{samples / 1e6 / statistics.median(by_round(rows, [*rows], what)):.1f}")
        for what in ("encode_s", "decode_s"):
            ratio = speeds.faster(name, what)
            cells.append("" if name == first or ratio is None else f"{ratio:.2f}")
        table.add_row(name, *cells)
    return table
