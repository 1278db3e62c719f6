"""Find when a raster was taken in the name of its product.

Only names that an agency has laid down are read: a date that stands in any other may be that of the
processing, of a delivery, or of nothing.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from tilepress.pipeline.image.info import Acquired

__all__ = ["acquired_by_name"]

_DAY = timedelta(days=1)

_PRODUCTS = (
    # LC08_L1TP_220063_20150711_20170407_01_T1_B4: the second date is that of processing
    ("Landsat", r"L[COTEM]\d\d_L\w{3}_\d{6}_(?P<ymd>\d{8})_\d{8}_\d\d_\w\w(?![^_.])"),
    # LC81060712016134LGN00_B3: Landsat scenes before collections
    ("Landsat", r"L[COTEM]\d\d{6}(?P<yj>\d{7})[A-Z]{3}\d\d(?![^_.])"),
    # LS5_TM_NBAR_P54_GANBAR01-002_090_084_19920323_B10: Geoscience Australia's, before collections
    ("Landsat", r"LS\d_[A-Z_]{2,9}_[A-Z]{2,5}_P\d\d_GA[A-Z]+\d\d-\d{3}_\d{3}_\d{3}_"
                r"(?P<ymd>\d{8})(?![^_.])"),
    # ga_ls8c_nbart_3-0-0_090084_2020-05-18_final_band01: and since
    ("Landsat", r"ga_ls\dc?_\w+_\d-\d-\d_\d{6}_(?P<day>\d{4}-\d\d-\d\d)_"),
    # S2A_MSIL1C_20180101T105441_N0206_R051_T31TDH_20180101T124911
    ("Sentinel-2", r"S2[A-D]_MSIL[12][A-C]_(?P<time>\d{8}T\d{6})_N\d{4}_R\d{3}_T\d\d[A-Z]{3}_"),
    # T31TDH_20180101T105441_B01, L2A_T31TDH_20180101T105441_B02_10m: bands of one
    ("Sentinel-2", r"(?:L2A_)?T\d\d[A-Z]{3}_(?P<time>\d{8}T\d{6})_[A-Z]"),
    # S2A_29RKH_20200219_0_L2A__B08: cloud-optimised copies
    ("Sentinel-2", r"S2[A-D]_\d\d[A-Z]{3}_(?P<ymd>\d{8})_\d_L[12][AC](?![^_.])"),
    # 2020-09-17_Sentinel_2_L1C_B04, 2020-09-17-00_00_2020-09-17-23_59_Sentinel-2_L2A_B04_(Raw):
    # what the browsers of Copernicus and Sentinel Hub save of one day
    ("Sentinel Hub", r"(?P<day>\d{4}-\d\d-\d\d)(?:-\d\d[:_]\d\d_(?P=day)-\d\d[:_]\d\d)?"
                     r"_Sentinel[-_]\d_"),
    # S1A_IW_GRDH_1SDV_20150101T054012_20150101T054037_003984_004CBC_D5C5
    ("Sentinel-1", r"S1[A-D]_\w\w_\w{4}_\w{4}_(?P<time>\d{8}T\d{6})_(?P<end>\d{8}T\d{6})_\d{6}_"),
    # s1a-iw-grd-vv-20150101t054012-20150101t054037-003984-004cbc-001: measurements of one
    ("Sentinel-1", r"s1[a-d]-\w\w\d?-\w{3}-\w\w-(?P<time>\d{8}t\d{6})-(?P<end>\d{8}t\d{6})-\d{6}-"),
    # S3A_OL_1_EFR____20180101T105441_20180101T105741_20180102T151230_…
    ("Sentinel-3", r"S3[A-D]_\w{2}_\d_\w{6}_(?P<time>\d{8}T\d{6})_(?P<end>\d{8}T\d{6})_\d{8}T"),
    # HLS.L30.T18TYN.2020123T153042.v2.0.B04
    ("HLS", r"HLS\.[LS]30\.T\d\d[A-Z]{3}\.(?P<yj>\d{7})T(?P<clock>\d{6})\.v\d"),
    # MOD09GA.A2018001.h18v04.006.2018003031012, VNP46A2.A2021100.h08v05.001…: MODIS and VIIRS
    ("MODIS or VIIRS",
     r"(?:M[OCY]D|V[NJ]P?\d?)\w{2,8}\.A(?P<yj>\d{7})\.(?:\d{4}\.|h\d\dv\d\d\.)\d{3}\."),
    # m_4207220_ne_18_060_20190812_20191010, m_3008601_ne_16_1_20150804: NAIP
    ("NAIP", r"m_\d{7}_[ns][ew]_\d\d_(?:\d{3}|[1h])_(?P<ymd>\d{8})(?![^_.])"),
    # 20180101_105441_1034_3B_AnalyticMS: PlanetScope
    ("PlanetScope", r"(?P<ymd>\d{8})_(?P<clock>\d{6})_(?:\d\d_)?[0-9a-f]{4}_[13][AB]_"),
)  # fmt: skip
"""(whose, what a name begins with): ymd, yj or day, and clock its time; or time, and end."""

_DAYS = {"ymd": "%Y%m%d", "yj": "%Y%j", "day": "%Y-%m-%d"}

_PATTERNS = tuple((name, re.compile(pattern, re.ASCII)) for name, pattern in _PRODUCTS)


def acquired_by_name(name: str) -> Acquired | None:
    """Return when the product of this file name was taken; None where that is not told.

    A name that tells only the day gives its first and last second.
    """
    for product, pattern in _PATTERNS:
        match = pattern.match(name)
        if match is not None:
            found = _time(match.groupdict(), f"file name ({product})")
            if found is not None:
                return found
    return None


def _time(parts: dict[str, str | None], tag: str) -> Acquired | None:
    days = ((parts.get(key), form) for key, form in _DAYS.items())
    day, form = next((pair for pair in days if pair[0]), (None, ""))
    clock = parts.get("clock")
    try:
        if day is None:
            first = _parse(str(parts["time"]).upper(), "%Y%m%dT%H%M%S")
            end = parts.get("end")
            last = None if end is None else _parse(end.upper(), "%Y%m%dT%H%M%S")
        elif clock is not None:
            first, last = _parse(day + clock, form + "%H%M%S"), None
        else:
            first = _parse(day, form)
            last = first + _DAY - timedelta(seconds=1)
    except ValueError:
        return None
    if not 1960 <= first.year <= 2100 or (last is not None and last < first):
        return None
    return Acquired(first, tag, last)


def _parse(text: str, form: str) -> datetime:
    return datetime.strptime(text, form).replace(tzinfo=UTC)
