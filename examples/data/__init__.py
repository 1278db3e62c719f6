"""Real images to try things on: bundled Landsat bands, and DICOM files of the extra ``demo``."""

from __future__ import annotations

from importlib import metadata
from importlib.resources import as_file, files
from pathlib import Path

__all__ = ["MissingSamples", "dicom_files", "landsat_bands"]

_DICOM_FILES = {
    "ct": "693_UNCR.dcm",
    "enhanced-ct": "eCT_Supplemental.dcm",
    "mr": "MR2_UNCR.dcm",
    "radiograph": "RG3_UNCR.dcm",
}
"""Files of pydicom-data 1.0.0: uncompressed, never lossily compressed before, never trained on."""


class MissingSamples(LookupError):
    """The package that holds the DICOM samples is not installed."""


def landsat_bands() -> list[Path]:
    """Return the GeoTIFF files of Landsat-8 bands 2, 3 and 4 (768 × 768, uint16), in that order."""
    folder = files(__name__)
    names = sorted(item.name for item in folder.iterdir() if item.name.endswith(".tif"))
    with as_file(folder) as path:  # the package is always installed as plain files
        return [path / name for name in names]


def dicom_files() -> dict[str, Path]:
    """Return real DICOM files by short name: ct, enhanced-ct (two frames), mr, radiograph."""
    try:
        package = metadata.distribution("pydicom-data")
    except metadata.PackageNotFoundError as exc:
        raise MissingSamples(
            "looking for DICOM samples: the package pydicom-data is not installed; "
            "pip install 'tilepress[demo]' brings it"
        ) from exc
    folder = Path(str(package.locate_file("data_store/data")))
    found = {name: folder / file for name, file in _DICOM_FILES.items()}
    for name, path in found.items():
        if not path.is_file():
            raise MissingSamples(
                f"looking for DICOM samples: pydicom-data has no {path.name} ({name})"
            )
    return found
