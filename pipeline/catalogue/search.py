"""Find stores of an archive by place, time, identifier or modality, in its catalogue alone.

Nothing is opened but the index, whose lines a run of ``compress`` writes; what it lists and the
archive has no more is not found here, nor is a store that no run has catalogued yet.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from tilepress.errors import StoreError, UsageError
from tilepress.pipeline.catalogue.dicom_studies import pseudonym_of_patient
from tilepress.pipeline.catalogue.index import SERIES, Entry, Index
from tilepress.pipeline.catalogue.stores import CATALOGUE, is_store
from tilepress.pipeline.dicom.header import hashed
from tilepress.pipeline.image.pseudonyms import UNKEYED, Pseudonyms
from tilepress.pipeline.privacy.key import known_pseudonyms
from tilepress.pipeline.storage.path import AnyPath, StoragePath, storage_path

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Wanted", "catalogue", "find", "parse_bbox", "parse_span", "search"]

Bbox = tuple[float, float, float, float]
Span = tuple[datetime, datetime]

_UID = re.compile(r"[0-9]+(\.[0-9]+)+")
_PSEUDONYM = re.compile(r"[0-9a-f]{12}")

EARLIEST = datetime(1, 1, 1, tzinfo=UTC)
LATEST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a store has to be; what is None may be anything."""

    bbox: Bbox | None = None
    """West, south, east, north in degrees (WGS 84); west above east crosses the antimeridian."""
    span: Span | None = None
    identifiers: frozenset[str] | None = None
    """What stands for a study or series in this archive."""
    patient: str | None = None
    """What stands for a patient in this archive."""
    modality: str | None = None
    kind: Literal["raster", "dicom"] | None = None

    def takes(self, entry: Entry) -> bool:
        """Whether a store is wanted. One that does not tell what is asked for is not."""
        if self.kind not in (None, entry.kind):
            return False
        if self.bbox is not None and (entry.bbox is None or not _meet(self.bbox, entry.bbox)):
            return False
        if self.span is not None and (entry.span is None or not _overlap(self.span, entry.span)):
            return False
        series = entry.series or {}
        if self.identifiers is not None and not self.identifiers & {
            entry.study,
            series.get("series"),
        }:
            return False
        if self.patient not in (None, entry.patient):
            return False
        return self.modality is None or entry.summary.modality == self.modality.upper()


def find(
    archive: AnyPath,
    *,
    bbox: Bbox | None = None,
    datetime: str | None = None,
    uid: str | None = None,
    patient: str | None = None,
    patient_hash: str | None = None,
    modality: str | None = None,
) -> list[StoragePath]:
    """Return the stores of an archive that meet every condition, in the order of their names.

    Parameters
    ----------
    bbox : west, south, east, north in degrees (WGS 84) of a box that the image meets
    datetime : when it was taken, RFC 3339: ``2020-06``, ``2020-01-01/2020-06-30``, ``../2020``
    uid : StudyInstanceUID or SeriesInstanceUID, or the 12 digits that stand for one
    patient : PatientID; the archive's key is needed
    patient_hash : the 12 digits that stand for a PatientID, as ``catalogue`` has them
    modality : DICOM modality, as CT

    Raises UsageError for a condition that makes no sense, StoreError where there is no catalogue.
    """
    where = storage_path(archive)
    wanted = Wanted(
        bbox=None if bbox is None else _checked(bbox),
        span=None if datetime is None else parse_span(datetime),
        identifiers=None if uid is None else _identifiers(where, uid),
        patient=_patient(where, patient, patient_hash),
        modality=modality,
    )
    if wanted.patient is not None and any(map(_patient_unknown, _entries(where))):
        raise StoreError(
            f"searching {where}: its catalogue does not know the patients of all series; the next "
            "run of compress, by whoever may read the archive's key, brings it up to date"
        )
    return [where / entry.key for entry in search(where, wanted)]


def _patient_unknown(entry: Entry) -> bool:
    return entry.kind == SERIES and entry.patient is None


def search(archive: StoragePath, wanted: Wanted) -> Iterator[Entry]:
    """Yield the entries of the stores that are wanted, as a stream."""
    return filter(wanted.takes, _entries(archive))


def catalogue(archive: AnyPath) -> pd.DataFrame:
    """Return what the catalogue of an archive knows, a row for each store.

    Columns: ``store`` (its key below the archive), ``kind`` (raster or dicom), ``axes``,
    ``shape``, ``dtype``, ``codec``, ``max_error`` (0 is lossless, NaN without a bound),
    ``raw_bytes``, ``stored_bytes``, ``ratio``, ``crs``, ``west``, ``south``, ``east``, ``north``
    (degrees, WGS 84; NaN without a place), ``start`` and ``end`` (UTC), ``modality``,
    ``patient``, ``study`` and ``series`` (what stands for PatientID and UIDs).

    Raises StoreError where there is no catalogue.
    """
    import pandas as pd

    rows = [_row(entry) for entry in _entries(storage_path(archive))]
    table = pd.DataFrame(rows, columns=list(_COLUMNS))
    for name in ("start", "end"):
        table[name] = pd.to_datetime(table[name], utc=True, format="ISO8601")
    return table


_COLUMNS = (
    *("store", "kind", "axes", "shape", "dtype", "codec", "max_error", "raw_bytes"),
    *("stored_bytes", "ratio", "crs", "west", "south", "east", "north", "start", "end"),
    *("modality", "patient", "study", "series"),
)


def _row(entry: Entry) -> dict[str, Any]:
    summary = entry.summary
    box = entry.bbox or (float("nan"),) * 4
    start, end = entry.span or (None, None)
    return {
        "store": entry.key,
        "kind": entry.kind,
        "axes": summary.axes,
        "shape": summary.shape,
        "dtype": summary.dtype,
        "codec": entry.codec,
        "max_error": float("nan") if summary.max_error is None else summary.max_error,
        "raw_bytes": summary.raw_bytes,
        "stored_bytes": summary.stored_bytes,
        "ratio": round(summary.ratio, 4),
        "crs": summary.crs,
        **dict(zip(("west", "south", "east", "north"), box, strict=True)),
        "start": start,
        "end": end,
        "modality": summary.modality,
        "patient": entry.patient or None,
        "study": entry.study,
        "series": (entry.series or {}).get("series"),
    }


def _entries(archive: StoragePath) -> Iterator[Entry]:
    if is_store(archive):
        raise UsageError(f"searching {archive}: it is a store; name an archive of stores")
    if not archive.is_folder():
        raise UsageError(f"searching {archive}: there is no such folder")
    index = Index(archive / CATALOGUE)
    if not index.exists:
        raise StoreError(
            f"searching {archive}: it has no catalogue; the next run of compress writes one"
        )
    return index.entries()


def _identifiers(archive: StoragePath, uid: str) -> frozenset[str]:
    """Return what may stand for a UID in an archive: it never has the UID itself."""
    if _PSEUDONYM.fullmatch(uid):
        return frozenset({uid})
    if not _UID.fullmatch(uid):
        raise UsageError("searching: the UID has other signs than digits and dots")
    plain = hashed(uid)
    found = {UNKEYED.of(plain)}
    known = _key(archive, "UID")
    if known is not None:
        found.add(known.of(plain))
    return frozenset(found)


def _patient(archive: StoragePath, patient: str | None, digits: str | None) -> str | None:
    """Return what stands for a patient; None where nobody is looked for."""
    if patient is None:
        if digits is None or _PSEUDONYM.fullmatch(digits):
            return digits
        raise UsageError("searching: a patient's hash has 12 digits and letters from a to f")
    if digits is not None:
        raise UsageError("searching: name a patient or a patient's hash, not both")
    known = _key(archive, "patient")
    if known is None or known.key is None:
        raise UsageError(
            f"searching {archive}: it has no key, and without one its catalogue knows no patients"
        )
    found = pseudonym_of_patient(patient, known)
    if not found:
        raise UsageError("searching: the PatientID is empty")
    return found


def _key(archive: StoragePath, what: str) -> Pseudonyms | None:
    try:
        return known_pseudonyms(archive)
    except PermissionError as error:
        raise UsageError(
            f"searching {archive}: its key, without which no {what} can be looked up, is not yours "
            "to read; ask for the 12 digits that stand for it"
        ) from error


# --- place -------------------------------------------------------------------------------------


def parse_bbox(text: str) -> Bbox:
    """Return the numbers of "west,south,east,north" in degrees; raises UsageError."""
    with contextlib.suppress(ValueError):
        west, south, east, north = (float(part) for part in text.split(","))
        return _checked((west, south, east, north))
    raise UsageError(f"searching: got --bbox {text!r}, want west,south,east,north in degrees")


def _checked(bbox: Bbox) -> Bbox:
    try:
        west, south, east, north = map(float, bbox)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"searching: got the box {bbox!r}, want the numbers west,south,east,north in degrees"
        ) from error
    if not (-90 <= south <= north <= 90 and -180 <= west <= 180 and -180 <= east <= 180):
        raise UsageError(
            f"searching: the box {west:g},{south:g},{east:g},{north:g} is none of degrees: want "
            "west,south,east,north with south ≤ north"
        )
    return west, south, east, north


def _meet(a: Bbox, b: Bbox) -> bool:
    """Whether two boxes have a point in common; either may cross the antimeridian."""
    if a[1] > b[3] or b[1] > a[3]:
        return False
    return any(w1 <= e2 and w2 <= e1 for w1, e1 in _spans(a) for w2, e2 in _spans(b))


def _spans(box: Bbox) -> list[tuple[float, float]]:
    west, _, east, _ = box
    return [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]


# --- time --------------------------------------------------------------------------------------


def parse_span(text: str) -> Span:
    """Return the first and last moment of "2020-06", "2020-01-01/2020-06-30" or "../2020".

    Raises UsageError.
    """
    first, slash, last = text.strip().partition("/")
    with contextlib.suppress(ValueError, OverflowError):
        start = EARLIEST if slash and first in ("", "..") else _moments(first)[0]
        if not slash:
            last = first
        end = LATEST if slash and last in ("", "..") else _moments(last)[1]
        if start <= end:
            return start, end
    raise UsageError(
        f"searching: got the time {text!r}, want e.g. 2020, 2020-06, 2020-06-15, "
        "2020-06-15T10:00:00Z, 2020-01-01/2020-06-30 or ../2020-06"
    )


def _moments(text: str) -> Span:
    """Return the first and last moment of a year, a month, a day, or a second."""
    match = re.fullmatch(r"(\d{4})(?:-(\d\d))?", text.strip())
    if match is not None:
        year, month = int(match[1]), int(match[2] or 1)
        start = datetime(year, month, 1, tzinfo=UTC)
        after = (year + 1, 1) if match[2] is None or month == 12 else (year, month + 1)
        return start, datetime(*after, 1, tzinfo=UTC) - timedelta(microseconds=1)
    start = datetime.fromisoformat(text.strip())
    start = start.replace(tzinfo=UTC) if start.tzinfo is None else start.astimezone(UTC)
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text.strip()):
        return start, start + timedelta(days=1) - timedelta(microseconds=1)
    return start, start


def _overlap(wanted: Span, span: tuple[str, str]) -> bool:
    try:
        first, last = (datetime.fromisoformat(one) for one in span)
    except ValueError:
        return False
    return first <= wanted[1] and wanted[0] <= last
