"""Slides of scanners, as far as OpenSlide asks: MIRAX, VMS, SCN, BIF, svslide, Philips, Trestle."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
from PIL import Image

Tags = Mapping[int, str | bytes | Sequence[int]]

TRESTLE = {
    305: "MedScan 1.0",
    270: "Background Color=F0F1F2;White Balance=FFFFFF;Objective Power=20;OverlapsXY= 0 0 0 0",
}


def picture(height: int, width: int) -> np.ndarray:
    """Return smooth samples (y, x, 3)."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], -1).astype(np.uint8)


def jpeg(samples: np.ndarray, restart: int = 0) -> bytes:
    """Return a JPEG stream without subsampling, with an interval of so many MCUs."""
    out = BytesIO()
    how = {"restart_marker_blocks": restart} if restart else {}
    Image.fromarray(samples).save(out, "JPEG", quality=90, subsampling=0, **how)
    return out.getvalue()


def decoded(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(data)))


def tiff(path: Path, pages: Sequence[tuple[np.ndarray, Tags]], tile: int = 64) -> Path:
    """Write a TIFF file of JPEG tiles; a page whose tags have 278 (RowsPerStrip) is one strip."""
    out, link = bytearray(b"II*\0\0\0\0\0"), 4
    for samples, tags in pages:
        tiled = 278 not in tags
        height, width = samples.shape[:2]
        blocks = _tiles(samples, tile) if tiled else [samples.tobytes()]
        offsets = []
        for block in blocks:
            offsets.append(len(out))
            out += block
        sizes = [len(block) for block in blocks]
        entries: dict[int, str | bytes | Sequence[int]] = {
            256: [width], 257: [height], 258: [8, 8, 8], 259: [7 if tiled else 1],
            262: [6 if tiled else 2], 277: [3], 284: [1], **tags,
        }  # fmt: skip
        if tiled:
            entries |= {322: [tile], 323: [tile], 324: offsets, 325: sizes, 530: [1, 1]}
        else:
            entries |= {273: offsets, 279: sizes}
        records = []
        for tag, value in sorted(entries.items()):
            kind, count, data = _entry(tag, value)
            if len(data) > 4:
                out += b"\0" * (len(out) % 2)
                at, data = len(out), data
                out += data
                data = struct.pack("<I", at)
            records.append(struct.pack("<HHI", tag, kind, count) + data.ljust(4, b"\0"))
        out += b"\0" * (len(out) % 2)
        out[link : link + 4] = struct.pack("<I", len(out))
        out += struct.pack("<H", len(records)) + b"".join(records)
        link = len(out)
        out += bytes(4)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(out)
    return path


def _tiles(samples: np.ndarray, tile: int) -> list[bytes]:
    height, width = samples.shape[:2]
    found = []
    for y in range(0, height, tile):
        for x in range(0, width, tile):
            part = samples[y : y + tile, x : x + tile]
            sides = ((0, tile - part.shape[0]), (0, tile - part.shape[1]), (0, 0))
            whole = np.ascontiguousarray(np.pad(part, sides, mode="edge"))
            how = {"colorspace": "RGB", "outcolorspace": "YCBCR", "subsampling": "444"}
            found.append(imagecodecs.jpeg8_encode(whole, level=90, **how))
    return found


def _entry(tag: int, value: str | bytes | Sequence[int]) -> tuple[int, int, bytes]:
    if isinstance(value, str):
        value = value.encode() + b"\0"
        return 2, len(value), value
    if isinstance(value, bytes):
        return 7, len(value), value
    long = tag in (256, 257, 273, 278, 279, 324, 325)
    return (4 if long else 3), len(value), np.array(value, "<u4" if long else "<u2").tobytes()


def trestle(path: Path, samples: np.ndarray) -> Path:
    """Write two levels; neither says that it is a reduced one."""
    return tiff(path, [(samples, TRESTLE), (samples[::2, ::2], {})])


def philips(path: Path, samples: np.ndarray) -> Path:
    """Write two levels, padded to whole tiles as Philips pads them, and a label."""

    def attribute(name: str, value: str, kind: str = "IString") -> str:
        place = 'Group="0x301D" Element="0x1000"'
        return f'<Attribute Name="{name}" {place} PMSVR="{kind}">{value}</Attribute>'

    def level(number: int, spacing: float) -> str:
        both = f"&quot;{spacing}&quot; &quot;{spacing}&quot;"
        return (
            '<DataObject ObjectType="PixelDataRepresentation">'
            + attribute("DICOM_PIXEL_SPACING", both, "IDoubleArray")
            + attribute("PIIM_PIXEL_DATA_REPRESENTATION_NUMBER", str(number), "IUInt16")
            + "</DataObject>"
        )

    levels = f"<Array>{level(0, 0.00025)}{level(1, 0.0005)}</Array>"
    image = (
        '<Array><DataObject ObjectType="DPScannedImage">'
        + attribute("PIM_DP_IMAGE_TYPE", "WSI")
        + attribute(
            "DICOM_PIXEL_SPACING", "&quot;0.00025&quot; &quot;0.00025&quot;", "IDoubleArray"
        )
        + attribute("PIIM_PIXEL_DATA_REPRESENTATION_SEQUENCE", levels, "IDataObjectArray")
        + "</DataObject></Array>"
    )
    text = (
        '<?xml version="1.0" encoding="UTF-8" ?><DataObject ObjectType="DPUfsImport">'
        + attribute("DICOM_MANUFACTURER", "PHILIPS")
        + attribute("PIM_DP_SCANNED_IMAGES", image, "IDataObjectArray")
        + "</DataObject>"
    )
    padded = [_padded(one) for one in (samples, samples[::2, ::2])]
    pages: list[tuple[np.ndarray, Tags]] = [
        (padded[0], {305: "Philips DP v1.0", 270: text}),
        (padded[1], {254: [1], 270: "level=1 mag=20 quality=80"}),
        (picture(40, 60), {278: [40], 270: "Label"}),
    ]
    return tiff(path, pages)


def _padded(samples: np.ndarray, tile: int = 64) -> np.ndarray:
    height, width = samples.shape[:2]
    sides = ((0, -height % tile), (0, -width % tile), (0, 0))
    return np.pad(samples, sides, constant_values=255)


def scn(path: Path, samples: np.ndarray) -> Path:
    """Write two levels that cover a part of a slide, at (200, 200), and a macro image."""

    def image(name: str, levels: Sequence[tuple[int, int, int]], view: tuple[int, ...]) -> str:
        sizes = "".join(
            f'<dimension sizeX="{width}" sizeY="{height}" r="{number}" ifd="{ifd}"/>'
            for number, (width, height, ifd) in enumerate(levels)
        )
        width, height, across, down = view
        return (
            f'<image name="{name}"><creationDate>2011</creationDate>'
            f'<device model="m" version="1"/>'
            f'<pixels sizeX="{levels[0][0]}" sizeY="{levels[0][1]}">{sizes}</pixels>'
            f'<view sizeX="{width}" sizeY="{height}" offsetX="{across}" offsetY="{down}"/>'
            "<scanSettings><objectiveSettings><objective>20</objective></objectiveSettings>"
            "<illuminationSettings><numericalAperture>0.4</numericalAperture><illuminationSource>"
            "brightfield</illuminationSource></illuminationSettings></scanSettings></image>"
        )

    height, width = samples.shape[:2]
    half = samples[::2, ::2]
    slide = (width * 500, height * 500, 100000, 100000)
    sizes = [(width, height, 1), (half.shape[1], half.shape[0], 2)]
    text = (
        '<?xml version="1.0"?>'
        '<scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01" uuid="urn:uuid:1">'
        '<collection name="c" uuid="urn:uuid:2" sizeX="400000" sizeY="300000">'
        + image("macro", [(64, 48, 0)], (400000, 300000, 0, 0))
        + image("main", sizes, slide)
        + "</collection></scn>"
    )
    return tiff(path, [(picture(48, 64), {270: text}), (samples, {}), (half, {})])


def vms(path: Path, samples: np.ndarray, **names: str) -> Path:
    """Write a list of files, and beside it the JPEG files; sides are multiples of 64."""
    stem, folder = path.stem, path.parent
    folder.mkdir(parents=True, exist_ok=True)
    half = samples.shape[1] // 2
    (folder / f"{stem}(0,0).jpg").write_bytes(jpeg(samples[:, :half], 4))
    (folder / f"{stem}(1,0).jpg").write_bytes(jpeg(samples[:, half:], 4))
    (folder / f"{stem}_map.jpg").write_bytes(jpeg(samples[::4, ::4], 2))
    (folder / f"{stem}_macro.jpg").write_bytes(jpeg(picture(40, 60)))
    keys = {
        "NoLayers": "1", "NoJpegColumns": "2", "NoJpegRows": "1",
        "ImageFile": f"{stem}(0,0).jpg", "ImageFile(1,0)": f"{stem}(1,0).jpg",
        "MapFile": f"{stem}_map.jpg",
        "OptimisationFile": f"{stem}.opt", "MacroImage": f"{stem}_macro.jpg",
        "SourceLens": "20", "PhysicalWidth": str(samples.shape[1] * 460),
        "PhysicalHeight": str(samples.shape[0] * 460), **names,
    }  # fmt: skip
    lines = [f"{key}={value}" for key, value in keys.items()]
    path.write_text("\r\n".join(["[Virtual Microscope Specimen]", *lines, ""]))
    return path


def mirax(path: Path, samples: np.ndarray, *, gap: int | None = None, data: str = "") -> Path:
    """Write a file and its folder: two levels of JPEG images of 64 × 64 samples.

    gap : number of an image of the full resolution that was not taken; data : what the index calls
    the file of images, where it is another one than that which is there.
    """
    side, folder = 64, path.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(jpeg(picture(20, 30)))
    down, across = samples.shape[0] // side, samples.shape[1] // side
    content, index = bytearray(), []
    for level, step in enumerate((1, 2)):
        reduced, records = samples[::step, ::step], []
        for y in range(0, down, step):
            for x in range(0, across, step):
                number = y * across + x
                if level == 0 and number == gap:
                    continue
                top, left = y // step * side, x // step * side
                part = reduced[top : top + side, left : left + side]
                missing = ((0, side - part.shape[0]), (0, side - part.shape[1]), (0, 0))
                image = jpeg(np.pad(part, missing))
                records.append(struct.pack("<4i", number, len(content), len(image), 0))
                content += image
        index.append(records)
    (folder / "Data0000.dat").write_bytes(content)
    (folder / "Index.dat").write_bytes(_mirax_index(index))
    (folder / "Slidedat.ini").write_text(_slidedat(across, down, side, data or "Data0000.dat"))
    return path


MIRAX_ID = "0" * 32


def _mirax_index(levels: Sequence[Sequence[bytes]]) -> bytes:
    """Return the index: of each level a pointer to its first page, which points to the records."""
    head = b"01.02" + MIRAX_ID.encode()
    root = len(head) + 8
    out = bytearray(head + struct.pack("<2i", root, 0) + bytes(4 * len(levels)))
    for number, records in enumerate(levels):
        struct.pack_into("<i", out, root + 4 * number, len(out))
        out += struct.pack("<2i", 0, len(out) + 8)
        out += struct.pack("<2i", len(records), 0) + b"".join(records)
    return bytes(out)


def _slidedat(across: int, down: int, side: int, data: str) -> str:
    lines = [
        "[GENERAL]", "SLIDE_VERSION=01.02", f"SLIDE_ID={MIRAX_ID}", f"IMAGENUMBER_X={across}",
        f"IMAGENUMBER_Y={down}", "OBJECTIVE_MAGNIFICATION=20", "CameraImageDivisionsPerSide=1",
        "[HIERARCHICAL]", "HIER_COUNT=1", "NONHIER_COUNT=0", "INDEXFILE=Index.dat",
        "HIER_0_NAME=Slide zoom level", "HIER_0_COUNT=2",
        "HIER_0_VAL_0_SECTION=LEVEL_0", "HIER_0_VAL_1_SECTION=LEVEL_1",
        "[DATAFILE]", "FILE_COUNT=1", f"FILE_0={data}",
    ]  # fmt: skip
    for level in range(2):
        lines += [
            f"[LEVEL_{level}]", f"IMAGE_CONCAT_FACTOR={level}", "OVERLAP_X=0", "OVERLAP_Y=0",
            f"MICROMETER_PER_PIXEL_X={0.25 * 2**level}", f"DIGITIZER_WIDTH={side}",
            f"MICROMETER_PER_PIXEL_Y={0.25 * 2**level}", f"DIGITIZER_HEIGHT={side}",
            "IMAGE_FILL_COLOR_BGR=10551200", "IMAGE_FORMAT=JPEG",
        ]  # fmt: skip
    return "\r\n".join([*lines, ""])


def bif(path: Path, samples: np.ndarray) -> Path:
    """Write a label, and two levels of tiles of 64 × 64 that touch; sides are multiples of 128."""
    down, across = samples.shape[0] // 64, samples.shape[1] // 64
    joint = '<TileJointInfo FlagJoined="1" Confidence="100" OverlapX="0" OverlapY="0"'
    text = (
        '<?xml version="1.0"?><EncodeInfo Ver="2"><SlideStitchInfo>'
        f'<ImageInfo AOIScanned="1" AOIIndex="0" Width="64" Height="64" NumRows="{down}" '
        f'NumCols="{across}" Pos-X="0" Pos-Y="0">{joint} Direction="RIGHT" Tile1="1" Tile2="2"/>'
        f'{joint} Direction="UP" Tile1="1" Tile2="{2 * across}"/></ImageInfo>'
        '</SlideStitchInfo><AoiOrigin><AOI0 OriginX="0" OriginY="0"/></AoiOrigin></EncodeInfo>'
    )
    scan = b'<?xml version="1.0"?><iScan Magnification="20" ScanRes="0.465" Z-layers="1"/>'
    label: Tags = {278: [40], 270: "Label Image", 700: scan}
    first: Tags = {270: "level=0 mag=20 quality=95", 700: text.encode()}
    second: Tags = {270: "level=1 mag=10 quality=95"}
    return tiff(path, [(picture(40, 60), label), (samples, first), (samples[::2, ::2], second)])


def svslide(path: Path, samples: np.ndarray, side: int = 64) -> Path:
    """Write a database of JPEG tiles, one for each colour, on two levels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = samples.shape[:2]
    header = struct.pack("<5I", side, width, height, 0, 1)
    rows: list[tuple[str, str | bytes]] = [("++MagicBytes", "SVGigaPixelImage"), ("Header", header)]
    for step in (1, 2):
        reduced = samples[::step, ::step]
        for y in range(0, reduced.shape[0], side):
            for x in range(0, reduced.shape[1], side):
                part = reduced[y : y + side, x : x + side]
                missing = ((0, side - part.shape[0]), (0, side - part.shape[1]), (0, 0))
                part = np.pad(part, missing)
                for colour in range(3):
                    name = f"T;{x * step}|{y * step};{step};{colour};0"
                    rows.append((name, jpeg(np.ascontiguousarray(part[..., colour]))))
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE DataManagerSQLiteConfigXPO (TableName TEXT)")
        database.execute("INSERT INTO DataManagerSQLiteConfigXPO VALUES ('Blobs')")
        database.execute("CREATE TABLE Blobs (id TEXT, size INTEGER, data BLOB)")
        database.executemany("INSERT INTO Blobs VALUES (?, 0, ?)", rows)
        database.execute(
            "CREATE TABLE SVSlideDataXPO (OID INTEGER, SlideId TEXT, Date TEXT, Description TEXT, "
            "Creator TEXT, DiagnosisCode TEXT, Keywords TEXT)"
        )
        database.execute("INSERT INTO SVSlideDataXPO VALUES (1, 's', 'd', '', '', '', '')")
        database.execute(
            "CREATE TABLE SVHRScanDataXPO (OID INTEGER, ParentSlide INTEGER, ScanId TEXT, "
            "Date TEXT, Name TEXT, Description TEXT, ResolutionMmPerPix FLOAT, "
            "NominalLensMagnification FLOAT, FocussingMethod TEXT)"
        )
        database.execute(
            "INSERT INTO SVHRScanDataXPO VALUES (1, 1, 'x', 'd', 'n', '', 0.0005, 20.0, 'm')"
        )
    database.close()
    return path
