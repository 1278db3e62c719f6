"""One self-contained page of rates and distortions: tables, plots, pictures side by side."""

from __future__ import annotations

import base64
import html
import json
import math
from collections.abc import Sequence
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt

from tilepress.workflows.bench.rate_codecs import PEAK, makes_up
from tilepress.workflows.bench.rate_distortion import Curve, Picture, RdBench, RdImage

__all__ = ["rd_page"]

_COLOURS = ("#1b6ca8", "#d1495b", "#2e933c", "#8f5bb5", "#e08e0b", "#5f6b6d", "#00798c", "#a23e00")
_WIDE, _HIGH, _EDGE = 560, 330, 60
_GAIN = 8
"""Errors are shown this many times larger, over the range of what is shown."""

_METRICS = (
    ("psnr_db", "PSNR, dB", "{:.2f}"),
    ("ms_ssim", "MS-SSIM", "{:.4f}"),
    ("gmsd", "GMSD", "{:.4f}"),
    ("max_error", "largest error", "{:g}"),
    ("spectral_angle_deg", "SAM, °", "{:.3f}"),
    ("ndvi_error", "NDVI error", "{:.5f}"),
    ("hounsfield_bias", "soft tissue, HU", "{:+.3f}"),
    ("seam", "seam", "{:.3f}"),
)

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem;
  color: #1c2326; background: #fff; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.5rem; }
table { border-collapse: collapse; margin: .8rem 0; } caption { text-align: left; color: #56656b; }
th, td { padding: .15rem .7rem; text-align: right; border-bottom: 1px solid #dde3e6; }
th:first-child, td:first-child { text-align: left; }
.pair { display: flex; gap: 1.5rem; flex-wrap: wrap; align-items: flex-start; }
figure { margin: 0; } figcaption { color: #56656b; font-size: .9rem; }
.swipe { position: relative; display: inline-block; line-height: 0; background: #222;
  cursor: ew-resize; touch-action: pan-y; user-select: none; }
.swipe img { image-rendering: pixelated; width: 512px; max-width: 90vw; height: auto; }
.swipe img.over { position: absolute; inset: 0; clip-path: inset(0 0 0 50%); }
.swipe i { position: absolute; top: 0; bottom: 0; left: 50%; width: 2px; background: #ffd23f; }
.controls { margin: .4rem 0; } .controls label { margin-right: 1rem; }
input[type=range] { width: 512px; max-width: 90vw; }
svg { background: #fafbfb; border: 1px solid #dde3e6; max-width: 100%; height: auto; }
details { overflow-x: auto; } summary { cursor: pointer; }
svg text { font: 11px system-ui, sans-serif; }
"""

_SCRIPT = """
for (const box of document.querySelectorAll('.viewer')) {
  const pictures = JSON.parse(box.querySelector('script').textContent);
  const [under, over] = box.querySelectorAll('img');
  const line = box.querySelector('i'), range = box.querySelector('input[type=range]');
  const [left, right] = box.querySelectorAll('select');
  const map = box.querySelector('input[type=checkbox]');
  const show = () => {
    const kind = map.checked ? 'difference' : 'picture';
    const one = pictures[left.value], other = pictures[right.value];
    under.src = one.picture; over.src = other[kind] || other.picture;
    over.style.clipPath = `inset(0 0 0 ${range.value}%)`;
    line.style.left = `${range.value}%`;
    box.querySelector('.said').textContent = `left: ${one.text}; right: ${other.text}`
      + (map.checked ? ', as its difference from the source' : '');
  };
  for (const one of [left, right, map, range]) one.addEventListener('input', show);
  const swipe = box.querySelector('.swipe');
  const follow = (event) => {
    if (!(event.buttons & 1)) return;
    const place = swipe.getBoundingClientRect();
    range.value = 100 * (event.clientX - place.left) / place.width;
    show();
  };
  swipe.addEventListener('pointermove', follow);
  swipe.addEventListener('pointerdown', (event) => {
    swipe.setPointerCapture(event.pointerId);
    follow(event);
  });
  show();
}
"""


def rd_page(bench: RdBench) -> str:
    """Return the page as HTML; it loads nothing."""
    parts = [_summary(bench), *(_image(bench, image) for image in bench.images)]
    if bench.skipped:
        lines = "".join(f"<li>{html.escape(text)}</li>" for text in bench.skipped)
        parts.append(f"<h2>Not measured</h2><ul>{lines}</ul>")
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width'><title>Rate and distortion</title>"
        f"<style>{_STYLE}</style></head><body><h1>Rate and distortion</h1>"
        f"{''.join(parts)}<script>{_SCRIPT}</script></body></html>\n"
    )


def _summary(bench: RdBench) -> str:
    anchor = html.escape(bench.codecs[0])
    rows = []
    for name in bench.codecs[1:]:
        mean, count = bench.mean_bd_rate(name)
        text = "–" if mean is None else f"{mean:+.1f}".replace("-", "−")
        rows.append(f"<tr><td>{html.escape(name)}</td><td>{text}</td><td>{count}</td></tr>")
    return (
        f"<p>Each codec near {len(bench.targets_db)} targets of PSNR. BD-rate: bits more (+) or "
        f"fewer (−) than {anchor} for the same PSNR, in the mean of all images. PSNR is over "
        f"{html.escape(PEAK, quote=False)}: the peak of each image. What is absent, or behind a "
        "mask or an alpha of 0, has no weight in it, but its bits count.</p>"
        "<table><tr><th>codec</th><th>BD-rate, %</th><th>images</th></tr>"
        f"{''.join(rows)}</table>"
    )


def _image(bench: RdBench, image: RdImage) -> str:
    shape = " × ".join(map(str, image.shape))
    return (
        f"<h2>{html.escape(image.name)}</h2><p>{shape} {image.dtype}, peak {image.peak:g}</p>"
        f"<div class='pair'>{_plot(image.curves, 'psnr_db', 'PSNR, dB')}"
        f"{_plot(image.curves, 'ms_ssim', 'MS-SSIM')}</div>"
        f"{_viewer(image.pictures)}{_table(image.curves)}"
    )


def _table(curves: Sequence[Curve]) -> str:
    shown = [
        one
        for one in _METRICS
        if any(getattr(point, one[0]) is not None for curve in curves for point in curve.points)
    ]
    head = "".join(f"<th>{title}</th>" for _, title, _ in shown)
    rows = []
    for curve in curves:
        for point in curve.points:
            values = [(getattr(point, name), form) for name, _, form in shown]
            cells = "".join(
                f"<td>{'–' if value is None else form.format(value)}</td>" for value, form in values
            )
            rows.append(
                f"<tr><td>{html.escape(curve.codec)}</td><td>{point.level:g}</td>"
                f"<td>{point.bits_per_sample:.4f}</td>{cells}</tr>"
            )
    return (
        "<details><summary>All figures</summary><table><tr><th>codec</th><th>level</th>"
        f"<th>bits a sample</th>{head}</tr>{''.join(rows)}</table></details>"
    )


# --- plots


def _plot(curves: Sequence[Curve], metric: str, title: str) -> str:
    """Return curves over log2 of bits a sample as SVG."""
    lines = []
    for number, curve in enumerate(curves):
        points = [
            (math.log2(point.bits_per_sample), float(value))
            for point in curve.points
            if (value := getattr(point, metric)) is not None and point.bits_per_sample > 0
        ]
        if points:
            lines.append((curve.codec, _COLOURS[number % len(_COLOURS)], points))
    if not lines:
        return ""
    xs, ys = zip(*(point for _, _, points in lines for point in points), strict=True)
    left, right = math.floor(min(xs)), max(math.ceil(max(xs)), math.floor(min(xs)) + 1)
    low, high, step = _ticks(min(ys), max(ys))

    def place(x: float, y: float) -> tuple[float, float]:
        across = _EDGE + (x - left) / (right - left) * (_WIDE - _EDGE - 12)
        return across, _HIGH - _EDGE - (y - low) / (high - low) * (_HIGH - _EDGE - 12)

    parts = [f"<svg viewBox='0 0 {_WIDE} {_HIGH}' width='{_WIDE}' height='{_HIGH}' role='img'>"]
    parts.append(f"<title>{title} over bits a sample</title>")
    for power in range(left, right + 1):
        across, bottom = place(power, low)
        parts.append(
            f"{_line(across, across, 12, bottom)}<text x='{across:.1f}' y='{bottom + 16:.1f}' "
            f"text-anchor='middle'>{2.0**power:.3g}</text>"
        )
    for n in range(round((high - low) / step) + 1):
        value = low + n * step
        _, down = place(left, value)
        parts.append(
            f"{_line(_EDGE, _WIDE - 12, down, down)}<text x='{_EDGE - 6}' "
            f"y='{down + 4:.1f}' text-anchor='end'>{value:.4g}</text>"
        )
    for number, (name, colour, points) in enumerate(lines):
        path = " ".join("{:.1f},{:.1f}".format(*place(*point)) for point in sorted(points))
        parts.append(f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='2'/>")
        for point in points:
            across, down = place(*point)
            parts.append(f"<circle cx='{across:.1f}' cy='{down:.1f}' r='3' fill='{colour}'/>")
        row = _HIGH - _EDGE - 14 * (len(lines) - number)
        parts.append(
            f"<rect x='{_WIDE - 150}' y='{row}' width='18' height='3' fill='{colour}'/>"
            f"<text x='{_WIDE - 126}' y='{row + 5}'>{html.escape(name)}</text>"
        )
    middle = (_WIDE + _EDGE) / 2
    parts.append(
        f"<text x='{middle}' y='{_HIGH - _EDGE + 40}' text-anchor='middle'>bits a sample</text>"
        f"<text x='14' y='{_HIGH / 2}' text-anchor='middle' "
        f"transform='rotate(-90 14 {_HIGH / 2})'>{title}</text></svg>"
    )
    return "".join(parts)


def _line(x1: float, x2: float, y1: float, y2: float) -> str:
    ends = f"x1='{x1:.1f}' x2='{x2:.1f}' y1='{y1:.1f}' y2='{y2:.1f}'"
    return f"<line {ends} stroke='#e4e9eb'/>"


def _ticks(low: float, high: float) -> tuple[float, float, float]:
    """Return the ends of an axis and the step of its marks, round numbers all."""
    span = high - low or abs(high) or 1.0
    size = 10.0 ** math.floor(math.log10(span / 4))
    step = next(size * n for n in (1, 2, 5, 10) if span / (size * n) <= 6)
    bottom = math.floor(low / step + 1e-9) * step
    top = math.ceil(high / step - 1e-9) * step
    return bottom, top if top > bottom else bottom + step, step


# --- pictures


def _viewer(pictures: Sequence[Picture]) -> str:
    """Return pictures of which any two are shown under a slider, or one as its difference."""
    if len(pictures) < 2:
        return ""
    source = pictures[0].samples
    low, high = (float(np.percentile(source, share)) for share in (1, 99))
    span = high - low or 1.0
    entries: list[dict[str, Any]] = []
    for one in pictures:
        entry: dict[str, Any] = {"text": _said(one), "picture": _png((one.samples - low) / span)}
        if one.point is not None:
            wide = one.samples.astype(np.float64) - source.astype(np.float64)
            entry["difference"] = _png(0.5 + _GAIN * wide / span / 2)
        entries.append(entry)
    data = json.dumps(entries).replace("</", "<\\/")

    def options(chosen: int) -> str:
        names = (one.codec or "source" for one in pictures)
        return "".join(
            f"<option value='{n}'{' selected' if n == chosen else ''}>{html.escape(name)}</option>"
            for n, name in enumerate(names)
        )

    return (
        f"<div class='viewer'><script type='application/json'>{data}</script>"
        f"<div class='controls'><label>left <select>{options(0)}</select></label>"
        f"<label>right <select>{options(1)}</select></label>"
        f"<label><input type='checkbox'> difference × {_GAIN}</label></div>"
        "<figure><div class='swipe'><img alt='left' draggable='false'>"
        "<img alt='right' class='over' draggable='false'><i></i></div><br>"
        "<input type='range' min='0' max='100' value='50' aria-label='where they meet'>"
        "<figcaption class='said'></figcaption></figure></div>"
    )


def _said(picture: Picture) -> str:
    point = picture.point
    if point is None:
        return "source"
    psnr = "no difference" if point.psnr_db is None else f"{point.psnr_db:.1f} dB"
    made_up = ", texture in it is made up" if makes_up(picture.codec) else ""
    return f"{picture.codec}, {point.bits_per_sample:.3f} bits a sample, {psnr}{made_up}"


def _png(values: npt.NDArray[np.float64]) -> str:
    """Return values of 0 to 1 as the address of a picture."""
    finite = np.nan_to_num(values, nan=0.0, posinf=1.0, neginf=0.0)
    levels = np.rint(np.clip(finite, 0, 1) * 255).astype(np.uint8)
    data = imagecodecs.png_encode(np.ascontiguousarray(levels))
    return "data:image/png;base64," + base64.b64encode(bytes(data)).decode("ascii")
