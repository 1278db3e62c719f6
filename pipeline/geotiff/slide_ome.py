"""Say in OME-XML what a slide is (OME data model 2016-06)."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import quoteattr

import numpy as np

from tilepress.pipeline.geotiff.slide_record import PageLayout
from tilepress.pipeline.image.source import ExportReader

__all__ = ["ome_description"]

_SCHEMA = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
_TYPES = {"float32": "float", "float64": "double"}


def ome_description(reader: ExportReader, pages: Sequence[PageLayout]) -> str:
    """Return the text that the first page of an OME-TIFF file has as its description."""
    bands = sum(page.bands for page in pages)
    height, width = reader.shape[-2:]
    together = pages[0].bands
    names = reader.attrs.get("band_names", ())
    channels = "".join(
        f'<Channel ID="Channel:0:{number}" SamplesPerPixel="{page.bands}"'
        + (f" Name={quoteattr(names[number])}" if len(names) == len(pages) > 1 else "")
        + "/>"
        for number, page in enumerate(pages)
    )
    places = "".join(
        f'<TiffData IFD="{number}" FirstC="{number * together}" PlaneCount="1"/>'
        for number in range(len(pages))
    )
    dtype = np.dtype(reader.dtype).name
    size = reader.attrs.get("pixel_size_um")
    physical = ""
    if size is not None:
        physical = f' PhysicalSizeX="{float(size[1])!r}" PhysicalSizeY="{float(size[0])!r}"'
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><OME xmlns="{_SCHEMA}" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        f'xsi:schemaLocation="{_SCHEMA} {_SCHEMA}/ome.xsd" Creator="tilepress">'
        f'<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" '
        f'Type="{_TYPES.get(dtype, dtype)}" SizeX="{width}" SizeY="{height}" SizeC="{bands}" '
        f'SizeZ="1" SizeT="1" Interleaved="{str(together > 1).lower()}"'
        f"{physical}>{channels}{places}</Pixels></Image></OME>"
    )
