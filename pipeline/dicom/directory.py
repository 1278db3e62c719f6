"""Read which files a DICOMDIR refers to (PS3.3 annex F): that of a disc, or of a study on one."""

from __future__ import annotations

from pydicom.filereader import read_dataset

from tilepress.errors import DamagedSource
from tilepress.pipeline.dicom.bytes import (
    foreign_errors,
    open_bytes,
    quiet_pydicom,
    scan_container,
)

__all__ = ["MAX_REFERENCES", "referenced_files"]

MAX_REFERENCES = 2**20
"""Files of one directory: some hundred times as many as a disc holds."""

_RECORDS, _FILE_ID = 0x00041220, 0x00041500
_OF_INSTANCES = (0x00080016, 0x00280010)
"""SOP Class UID, Rows: a directory has neither, and an image that was cut may have records."""


def referenced_files(path: str) -> tuple[str, ...] | None:
    """Return the paths below its folder that a DICOMDIR refers to, each once; None of other files.

    They are as they are written there: nobody has looked whether they are there, or lead elsewhere.
    Raises SourceError where it cannot be read, or refers to more files than ``MAX_REFERENCES``.
    """
    with foreign_errors("reading a DICOMDIR", path), quiet_pydicom():
        container = scan_container(path)
        source = open_bytes(container)
        try:
            with source.stream() as stream:
                stream.seek(container.dataset_offset)
                dataset = read_dataset(
                    stream,
                    container.implicit,
                    container.little,
                    specific_tags=[_RECORDS, *_OF_INSTANCES],  # tags as numbers
                )
                if _RECORDS not in dataset or any(tag in dataset for tag in _OF_INSTANCES):
                    return None
                found: dict[str, None] = {}
                for record in dataset[_RECORDS].value:
                    if _FILE_ID in record and record[_FILE_ID].value:
                        found[_path(record[_FILE_ID].value)] = None
        finally:
            source.close()
    if len(found) > MAX_REFERENCES:
        raise DamagedSource(f"reading a DICOMDIR: it refers to {len(found)} files, in {path}")
    return tuple(found)


def _path(value: object) -> str:
    """Return a File ID, of several components, as a path."""
    parts = [value] if isinstance(value, str) else list(value)  # type: ignore[call-overload]
    return "/".join(str(part).strip() for part in parts)
