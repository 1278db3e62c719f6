"""Index the DICOM series of an archive by study, with hashes for every identifier.

What stands for a study is a keyed hash of its StudyInstanceUID (``image/pseudonyms.py``), as a
store's name has one of its series'. No UID, date or text of a header gets here; what does is
allow-listed already.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

from tilepress.errors import TilepressError
from tilepress.pipeline.dicom.bytes import EXPLICIT_BIG, foreign_errors, quiet_pydicom
from tilepress.pipeline.dicom.header import hashed
from tilepress.pipeline.image.pseudonyms import KEY_MARK, NO_KEY, Pseudonyms
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.store.summary import StoreSummary

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = [
    "INDEX",
    "Identity",
    "SeriesEntry",
    "identity",
    "index_document",
    "patient_of",
    "pseudonym_of_patient",
    "study_document",
]

INDEX = "dicom.json"
"""Its name in the catalogue's folder."""

INDEX_VERSION = 1

MAX_HEADER_BYTES = 16 * 2**20
"""Bytes of an instance's header that are parsed for its identifiers at most."""

CHARACTER_SET, PATIENT, STUDY, SERIES = 0x00080005, 0x00100020, 0x0020000D, 0x0020000E
"""SpecificCharacterSet, PatientID, StudyInstanceUID, SeriesInstanceUID."""

_ATTRIBUTES = (
    "sop_class_uid",
    "photometric_interpretation",
    "bits_stored",
    "instances",
    "pixel_spacing_mm",
    "slice_spacing_mm",
    "slice_thickness_mm",
)
"""Attributes of the image that the index repeats."""


@dataclass(frozen=True, slots=True)
class Identity:
    """To what a series belongs: 12 hex digits each; None where the source has no identifier."""

    study: str | None
    series: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesEntry:
    """One series, or the part of it that one store holds."""

    store: str
    """Key of the store below the archive."""
    study: str | None
    series: str | None
    modality: str
    axes: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    raw_bytes: int
    stored_bytes: int
    ratio: float
    max_error: float | None
    """Largest error of a sample that coding may make, 0 is lossless; None: without a bound."""
    attributes: Mapping[str, Any]
    """Geometry and photometrics, where known."""

    @classmethod
    def of(cls, store: str, summary: StoreSummary, known: Identity) -> SeriesEntry:
        return cls(
            store=store,
            study=known.study,
            series=known.series,
            modality=summary.modality or "OT",
            axes=summary.axes,
            shape=summary.shape,
            dtype=summary.dtype,
            raw_bytes=summary.raw_bytes,
            stored_bytes=summary.stored_bytes,
            ratio=round(summary.ratio, 4),
            max_error=summary.loss.max_error,
            attributes={
                name: summary.attributes[name] for name in _ATTRIBUTES if name in summary.attributes
            },
        )

    def to_json(self) -> dict[str, Any]:
        """Return what the index says of the series, within its study."""
        fields: dict[str, Any] = asdict(self)
        del fields["attributes"], fields["study"]
        return fields | dict(self.attributes)


def identity(reader: StoreReader) -> Identity:
    """Return the hashes of a DICOM store's study and series.

    They are attributes of the image; in stores that were written before these were, the header of
    the first instance is asked. None stands for what neither has, or cannot be read, and for what
    a store does not tell.
    """
    attributes = reader.attrs
    study, series = attributes.get("study"), attributes.get("series")
    if KEY_MARK in attributes or (isinstance(study, str) and isinstance(series, str)):
        return Identity(study, series)
    try:
        return _from_header(reader)
    except (TilepressError, OSError, KeyError, IndexError, TypeError, ValueError):
        return Identity(None, None)


def patient_of(reader: StoreReader, pseudonyms: Pseudonyms | None) -> str | None:
    """Return what stands for the patient of a DICOM store: a keyed hash of the PatientID.

    None without a key: there are so few identifiers of patients that any hash without one could be
    looked up. Empty where the store tells nothing of itself or its header has no identifier.
    """
    if pseudonyms is None or pseudonyms.key is None:
        return None
    if reader.attrs.get(KEY_MARK) == NO_KEY:
        return ""
    try:
        text = _first_header(reader, [PATIENT]).get("PatientID")
    except (TilepressError, OSError, KeyError, IndexError, TypeError, ValueError):
        return ""
    return pseudonym_of_patient(str(text or ""), pseudonyms)


def pseudonym_of_patient(patient: str, pseudonyms: Pseudonyms) -> str:
    """Return the 12 hex digits that stand for a PatientID; "" for an empty one."""
    plain = patient.strip()
    return pseudonyms.of(hashed(f"patient {plain}")) if plain else ""


def study_document(study: str | None, series: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the index says of one study; ``series`` are ``SeriesEntry.to_json``'s."""
    return {
        "study": study,
        "modalities": sorted({one["modality"] for one in series}),
        "raw_bytes": sum(one["raw_bytes"] for one in series),
        "stored_bytes": sum(one["stored_bytes"] for one in series),
        "series": list(series),
    }


def index_document(
    counts: Mapping[str, int],
    *,
    studies: Iterable[Mapping[str, Any]] | None = None,
    pages: Iterable[Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Return the index: its studies, or the pages that hold them where they are many.

    ``counts`` are of "studies", "series", "raw_bytes" and "stored_bytes". The key of a store in it
    is relative to the archive.
    """
    document: dict[str, Any] = {
        "type": "tilepress DICOM index",
        "version": INDEX_VERSION,
        "identifiers": "12 hex digits of a hash of the UID, keyed unless the archive is older",
        "counts": dict(counts),
    }
    if studies is not None:
        document["studies"] = list(studies)
    if pages is not None:
        document["pages"] = list(pages)
    return document


def _from_header(reader: StoreReader) -> Identity:
    dataset = _first_header(reader, [STUDY, SERIES])
    study = str(dataset.get("StudyInstanceUID") or "").strip()
    series = str(dataset.get("SeriesInstanceUID") or "").strip()
    return Identity(hashed(study) if study else None, hashed(series) if series else None)


def _first_header(reader: StoreReader, tags: list[int]) -> Dataset:
    """Return those elements of the first instance's header, none of which lies behind SERIES."""
    from pydicom.filereader import read_dataset

    first = reader.origin["instances"][0]
    length = min(int(first["header_bytes"]), MAX_HEADER_BYTES)
    header = reader.source_start("dicom-headers", length)
    little = first["syntax"] != EXPLICIT_BIG
    stream = BytesIO(header)
    stream.seek(int(first["dataset_offset"]))
    doing = "reading the identifiers of a DICOM series"
    with foreign_errors(doing, reader.path.name), quiet_pydicom():
        found = read_dataset(
            stream,
            bool(first["implicit"]),
            little,
            stop_when=lambda tag, vr, length: tag > SERIES,
            specific_tags=[CHARACTER_SET, *tags],
        )
        for element in found:  # values are parsed as they are asked for
            _ = element.value
        return found
