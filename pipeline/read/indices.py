"""Indices of bands: formulas by name or by text, over the physical values of a store's bands."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.numbers import number_of
from tilepress.errors import UsageError
from tilepress.pipeline.image.band_choice import bands_called, names_of_bands
from tilepress.pipeline.read.channels import band_count, told_channels
from tilepress.pipeline.read.expression import Expression, parse_expression
from tilepress.pipeline.store.reader import StoreReader

__all__ = ["PRESETS", "Index", "Preset", "common_names", "index_of", "normalized", "presets_of"]

Samples = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Index:
    """A formula, what makes physical values of its bands, and the range of its colours."""

    expression: Expression
    rescaling: tuple[tuple[float, float], ...]
    """Slope and intercept of each band of the formula."""
    low: float = -1.0
    high: float = 1.0

    def values(self, samples: Samples) -> npt.NDArray[np.float64]:
        """Return (y, x) values of (bands, y, x) stored samples; NaN where there is none."""
        return self.expression.values(samples, self.rescaling)


@dataclass(frozen=True, slots=True)
class Preset:
    """An index that has a name."""

    title: str
    text: str
    """Over common names; ``{unit}`` is the value of the samples that is a reflectance of 1."""
    low: float = -1.0
    high: float = 1.0


PRESETS: Mapping[str, Preset] = {
    "ndvi": Preset("NDVI, vegetation", "(nir - red) / (nir + red)"),
    "evi": Preset("EVI, vegetation", "2.5 * (nir - red) / (nir + 6*red - 7.5*blue + {unit})"),
    "savi": Preset("SAVI, vegetation on bright soil",
                   "1.5 * (nir - red) / (nir + red + 0.5*{unit})"),
    "ndwi": Preset("NDWI, open water", "(green - nir) / (green + nir)"),
    "ndmi": Preset("NDMI, moisture", "(nir - swir16) / (nir + swir16)"),
    "nbr": Preset("NBR, burnt ground", "(nir - swir22) / (nir + swir22)"),
    "ndsi": Preset("NDSI, snow", "(green - swir16) / (green + swir16)"),
    "vari": Preset("VARI, vegetation by visible bands", "(green - red) / (green + red - blue)"),
}  # fmt: skip
"""Rouse 1974; Huete 2002; Huete 1988 with L = 0.5; McFeeters 1996; Gao 1996; Key and Benson 2006;
Hall 1995; Gitelson 2002. Bands have the names of STAC's eo extension (``eo:common_name``)."""

_SENTINEL_2 = {"blue": "b2", "green": "b3", "red": "b4", "nir": "b8", "swir16": "b11",
               "swir22": "b12"}  # fmt: skip
_LANDSAT_8 = {"blue": "b2", "green": "b3", "red": "b4", "nir": "b5", "swir16": "b6",
              "swir22": "b7"}  # fmt: skip
_LANDSAT_4 = {"blue": "b1", "green": "b2", "red": "b3", "nir": "b4", "swir16": "b5",
              "swir22": "b7"}  # fmt: skip

_PRODUCTS = (
    (re.compile(r"S2[ABC]_|HLS\.S30\.|T[0-9]{2}[A-Z]{3}_[0-9]{8}T"), _SENTINEL_2),
    (re.compile(r"L[CO]0[89]_|L[CO]8[0-9]{13}[A-Z]{3}|HLS\.L30\."), _LANDSAT_8),
    (re.compile(r"L[TEM]0[4-7]_|L[TEM][4-7][0-9]{13}[A-Z]{3}"), _LANDSAT_4),
)
"""Products by the beginning of their names, Landsat scenes before collections among them, and the
numbers of their bands."""

_WORDS = {"near infrared": "nir", "nir08": "nir", "near-infrared": "nir", "swir1": "swir16",
          "swir2": "swir22", "sswir": "swir16", "lswir": "swir22"}  # fmt: skip
"""Other names that bands have: of GDAL's colours, and of older common names."""


def common_names(reader: StoreReader) -> dict[str, int]:
    """Return which band, from 0, is blue, green, red, nir, swir16 and swir22, where that is told.

    It is told by a band's own name, by the colour that its file gives it, or by the numbers of
    bands in a product whose name the store has. What two bands could be called is told of none.
    """
    count = band_count(reader)
    names = list(names_of_bands(reader)) or [one.label or "" for one in told_channels(reader)]
    colors = reader.attrs.get("color_interpretation")
    told = [{_plain(name)} - {""} for name in names]
    if isinstance(colors, list) and len(colors) == count:
        for words, color in zip(told, colors, strict=True):
            words |= {_plain(str(color))}
    found: dict[str, int] = {}
    for common in _SENTINEL_2:
        at = [n for n, words in enumerate(told) if common in words]
        if len(at) == 1:
            found[common] = at[0]
    numbered = next((t for p, t in _PRODUCTS if p.match(reader.path.name)), {})
    if not numbered and any(_number_of(name) in ("b8a", "b8") for name in names):
        numbered = _SENTINEL_2 if any(re.fullmatch(r"B0[0-9]", name) for name in names) else {}
    for common, number in numbered.items():
        at = [n for n, name in enumerate(names) if _number_of(name) == number]
        if not at and number == "b8":  # products of 20 m have its twin alone
            at = [n for n, name in enumerate(names) if _number_of(name) == "b8a"]
        if len(at) == 1:
            found.setdefault(common, at[0])
    return found


def presets_of(reader: StoreReader) -> dict[str, Preset]:
    """Return the indices that the bands of a store allow, over its own numbers of bands.

    Where samples are integers whose scale is not told, the unit of EVI and SAVI is 10000, as in the
    products of most missions; the title says so.
    """
    return _presets_over(reader, common_names(reader))


def _presets_over(reader: StoreReader, known: Mapping[str, int]) -> dict[str, Preset]:
    unit = _unit(reader)
    found = {}
    for name, preset in PRESETS.items():
        words = set(re.findall(r"[a-z][a-z0-9]+", preset.text)) - {"unit"}
        if words <= known.keys():
            guessed = "{unit}" in preset.text and unit != 1
            title = f"{preset.title} (samples of {unit} are a reflectance of 1)"
            text = preset.text.replace("{unit}", str(unit))
            found[name] = Preset(title if guessed else preset.title, text, preset.low, preset.high)
    return found


def index_of(
    reader: StoreReader, text: str, *, low: float | None = None, high: float | None = None
) -> Index:
    """Return the index that a preset's name or a formula says.

    Bands are called by the names that the store tells, by common names (``nir``), or by number: as
    ``b4``, unless a band is called so, or ``[4]``. Formulas are over physical values, where the
    store says how to make them. Raises UsageError.
    """
    common = common_names(reader)
    preset = _presets_over(reader, common).get(text.strip().lower())
    if preset is None and text.strip().lower() in PRESETS:
        wanted = PRESETS[text.strip().lower()].text.replace("{unit}", "1")
        raise UsageError(
            f"drawing: it is not known which bands {text.strip().lower()} is of, {wanted}; give a "
            "formula over the image's own bands"
        )
    names, count = names_of_bands(reader), band_count(reader)

    def called(asked: str | int) -> list[int]:
        if isinstance(asked, int):
            return [asked - 1] if 1 <= asked <= count else []
        found = [n - 1 for n in bands_called(asked, names, count)]
        if not found and asked.lower() in common:
            found = [common[asked.lower()]]
        number = re.fullmatch(r"[bB]([0-9]{1,5})", asked)
        if not found and number and 1 <= int(number[1]) <= count:
            found = [int(number[1]) - 1]
        return found

    expression = parse_expression(preset.text if preset else text, called)
    usual = preset or Preset("", "")
    return Index(
        expression,
        tuple(_rescaling(reader, band) for band in expression.bands),
        usual.low if low is None else low,
        usual.high if high is None else high,
    )


def normalized(a: int, b: int) -> Index:
    """Return the index (a − b) / (a + b) of stored samples of two bands, from 0."""
    order = (a, b) if a != b else (a,)
    second = order.index(b)
    text = f"([{a + 1}] - [{b + 1}]) / ([{a + 1}] + [{b + 1}])"
    steps = (0, second, "-", 0, second, "+", "/")
    return Index(Expression(text, order, steps), ((1.0, 0.0),) * len(order))


def _rescaling(reader: StoreReader, band: int) -> tuple[float, float]:
    """Return slope and intercept of a band; raises UsageError where they are a plane's, a table."""
    told = reader.attrs
    if "modality_lut" in told or "rescale_slope" in reader.level:
        raise UsageError(
            f"drawing {reader.path.name}: its values are made by a table, or plane by plane, which "
            "an expression cannot do"
        )
    found = []
    for key, neutral in (("rescale_slope", 1.0), ("rescale_intercept", 0.0)):
        value = told.get(key, neutral)
        if isinstance(value, list):
            if len(value) != band_count(reader):
                raise UsageError(
                    f"drawing {reader.path.name}: {key} has {len(value)} numbers, want one a band"
                )
            value = value[band]
        found.append(float(number_of(value)))
    return found[0], found[1]


def _unit(reader: StoreReader) -> int:
    """Return the physical value that is a reflectance of 1."""
    is_told = reader.attrs.get("rescale_slope", 1.0) != 1.0
    return 10000 if reader.dtype.kind in "iu" and reader.dtype.itemsize > 1 and not is_told else 1


def _number_of(name: str) -> str:
    """Return the number of a band at the end of its name, without zeros: b4 of B04 and SR_B4."""
    found = re.search(r"(?:^|[^a-z0-9])b0?([0-9]{1,2}a?)$", name.strip().lower())
    return f"b{found[1]}" if found else ""


def _plain(name: str) -> str:
    plain = name.strip().lower()
    return _WORDS.get(plain, plain)
