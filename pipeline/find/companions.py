"""Know by their names the files that accompany images, which a search passes over and counts."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

__all__ = [
    "LINKED_FOLDER",
    "PACKED_FOLDERS",
    "PREVIEWS",
    "SIDECAR_SUFFIXES",
    "is_of_product",
    "is_passed_over",
    "may_be_image",
    "may_be_packed",
    "told_ending",
    "well_known",
]

SIDECAR_SUFFIXES = frozenset(
    {
        *(".aux", ".gml", ".imd", ".kml", ".msk", ".ovr", ".prj", ".rpb", ".tab", ".tfw", ".wld"),
        *(".csv", ".doc", ".docx", ".htm", ".html", ".json", ".geojson", ".md", ".pdf", ".rst"),
        *(".cfg", ".ini", ".lock", ".log", ".md5", ".py", ".sh", ".sha256", ".toml", ".tsv"),
        *(".css", ".txt", ".url", ".xml", ".xsd", ".xsl", ".yaml", ".yml"),
        *(".att", ".dim", ".eph", ".pass", ".pvl", ".rpc"),
        *(".gfw", ".gtiffw", ".hgtw", ".htw", ".j2cw", ".j2kw", ".j2w", ".jcw", ".jkw", ".jp2w"),
        *(".jpxw", ".jxw", ".pgw", ".pngw", ".tifw", ".tiffw", ".jgw", ".jpgw", ".gifw", ".bpw"),
        *(".safe", ".met", ".meta", ".til", ".man", ".hdr", ".rrd", ".lic", ".crc", ".sha1"),
        *(".cpg", ".dbf", ".gpkg", ".qix", ".sbn", ".sbx", ".shp", ".shx", ".gpx", ".kmz"),
        *(".clr", ".lyr", ".lyrx", ".points", ".qml", ".qgs", ".qgz", ".sld", ".xlsx", ".xls"),
    }
)
"""Endings of what accompanies images; in folders such files are passed over."""

SIDECAR_STEMS = frozenset(
    {
        *("readme", "license", "licence", "copying", "dicomdir", "thumbs", "makefile"),
        *("md5sum", "md5sums"),
    }
)
"""Names of such files, whatever their endings."""

PREVIEWS = "previews"
"""What thumbnails of products are counted as, whatever their endings."""

LINKED_FOLDER = "links to folders"
"""What links to folders are counted as that are not followed."""


PACKED_FOLDERS = (".tar.gz", ".zip", ".tar", ".tgz")
"""Endings of packed folders, which their names lose; of two of one stem the first does."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_IMAGES = _words(
    """.7z .adf .asc .avif .bif .bil .bip .bmp .bsq .bz2 .cog .cr2 .czi .dcm .dcm30 .dem .dic
    .dicom .dng .ecw .ers .ets .exr .fit .fits .gif .grb .grb2 .grib .grib2 .gtiff .gz .h5 .hdf
    .hdf5 .he5 .heic .hgt .ima .img .isyntax .j2c .j2k .jfif .jls .jp2 .jpeg .jpg .jpx .jxl .kea
    .las .laz .lif .lsm .mha .mhd .mrc .mrf .mrxs .nc .nc4 .nd2 .ndpi .netcdf .nii .nitf .npy
    .npz .nrrd .ntf .pgm .png .pnm .ppm .qptiff .raw .scn .sdat .sid .svs .svslide .tar .tgz
    .tif .tiff .vms .vmu .vrt .vsi .webp .xz .zarr .zip .zst"""
)
"""Endings of what may be an image, or hold some: where that cannot be read, it is a failure."""

_OTHERS = _words(
    """.avi .bak .bat .bin .cab .chm .class .cmd .com .dat .db .dll .dylib .exe .frm .ico .idx .inf
    .ins .jar .js .lnk .lst .m .map .mov .mp3 .mp4 .mpg .msi .obj .old .orig .ppt .pptx .ps .rtf .so
    .stl .svg .swf .swp .sys .tmp .ttf .wav .woff .woff2 .xsd .ini .eps .fon .hlp .hta .jnlp .r .tex
    .ipynb .pkl .parquet .sqlite .rdata .mat .sav"""
)
"""Endings of other files that are told: any other ending may be a name."""

_PREVIEW = re.compile(
    r"(?:.*[_\-. ])?(?:thumb(?:nail|s|nails)?|preview|browse|quick-?look|ql|ver)"
    r"(?:[_\-. ][a-z0-9]+)?\.(?:jpe?g|gif|bmp)|star_bg\.jpg"
    r"|hls\.[ls]30\.t\w{5}\.\d{7}t\d{6}\.v\d\.\d\.jpg"
    r"|l[a-z]\d\d_l\w{3}_\d{6}_\d{8}_\d{8}_\d\d_(?:t\d|rt)(?:_refl|_tir|_qb)?\.jpe?g"
)
"""Pictures for people that come with scenes: LC08…_thumb_small.jpeg, …-ql.jpg, preview.jpg,
the background of a SAFE's own page; of HLS and Landsat those that are called as the scene."""


ZARR_DOCUMENT = "zarr.json"
"""What makes a folder an array; one that could not be read is found as a file."""


def is_passed_over(name: str) -> bool:
    """Whether a file of a searched folder is hidden or a well-known companion of images."""
    name = name.lower()
    return name != ZARR_DOCUMENT and (
        name.startswith(".")
        or PurePosixPath(name).suffix in SIDECAR_SUFFIXES
        or name.partition(".")[0] in SIDECAR_STEMS
        or _PREVIEW.fullmatch(name) is not None
    )


def well_known(name: str) -> str:
    """Return the ending of a companion of images; "" where it may be anything."""
    suffix = PurePosixPath(name.lower()).suffix
    if suffix not in SIDECAR_SUFFIXES and _PREVIEW.fullmatch(name.lower()):
        return PREVIEWS
    return suffix if suffix in SIDECAR_SUFFIXES else ""


def may_be_image(name: str) -> bool:
    """Whether what a file is called speaks of an image, or of something that holds images."""
    return PurePosixPath(name.lower()).suffix in _IMAGES or name == ZARR_DOCUMENT


def may_be_packed(name: str) -> bool:
    """Whether what a file is called speaks of files in it that we unpack."""
    return name.lower().endswith((*PACKED_FOLDERS, ".gz"))


def is_of_product(path: str) -> bool:
    """Whether a file lies in a product that is a folder: all of a SAFE belongs to its images."""
    return any(part.lower().endswith(".safe") for part in PurePosixPath(path).parts[:-1])


def told_ending(name: str) -> str:
    """Return the ending of a file as it may be told; "" where it may be anything."""
    suffix = PurePosixPath(name.lower()).suffix
    return suffix if suffix in _IMAGES or suffix in _OTHERS else well_known(name)
