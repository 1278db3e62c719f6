"""Of a raster's tags the numbers stay that say what samples are; no text does."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from tilepress.errors import ExcludedSource
from tilepress.pipeline.geotiff.deidentify import band_of_name, deidentified_record, shows_label
from tilepress.pipeline.geotiff.header import Entry, append_entries
from tilepress.pipeline.geotiff.kept_record import parse_record
from tilepress.pipeline.geotiff.slide_source import SlideSource
from tilepress.pipeline.geotiff.source import GeoTiffSource
from tilepress.pipeline.geotiff.stack import StackSource
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.privacy.recipe import DEIDENTIFIED

from ...helpers import canaries
from ...helpers.canaries import Planter
from ...helpers.slide_files import ome, picture, pyramid, write_slide
from ..images import IMAGE, tiff

ASKED = {"deidentify": {"options": ["basic"], "key": "0123"}, "name": "image-1"}


def items(source: GeoTiffSource) -> dict[str, bytes]:
    with source:
        return dict(source.source_items())


class TestARecord:
    def test_nothing_of_all_that_is_planted_is_left(self, tmp_path: Path):
        planter = Planter()
        path = planter.raster(tmp_path / f"{planter.letters()}.tif", IMAGE)
        before = items(GeoTiffSource.open(path))
        told = b"".join(before.values())
        hidden = sum(not canaries.in_bytes(token.encode()) for token in planter.tokens)
        assert not hidden
        assert canaries.in_bytes(told)
        source = GeoTiffSource.open(path, **ASKED)
        info = source.info
        made = items(source)
        assert not canaries.in_bytes(b"".join(made.values()))
        assert not canaries.in_bytes(repr(info).encode())

    def test_what_samples_are_stays(self, tmp_path: Path):
        planter = Planter()
        path = planter.raster(tmp_path / "a.tif", IMAGE, compress="deflate")
        with rasterio.open(path, "r+") as file:
            file.scales, file.offsets = (0.5,), (3.0,)
        with GeoTiffSource.open(path) as before, GeoTiffSource.open(path, **ASKED) as after:
            for key in ("height", "width", "dtype", "transform", "nodata", "scales", "offsets"):
                assert after._files[0].record[key] == before._files[0].record[key], key
            assert after.info.geo == before.info.geo
            assert after.info.nodata == before.info.nodata == 7
            assert "42113" in after._files[0].record["carried"]

    def test_what_went_is_counted(self, tmp_path: Path):
        path = Planter().raster(tmp_path / "a.tif", IMAGE)
        origin = json.loads(items(GeoTiffSource.open(path, **ASKED))["origin"])
        removed = origin[DEIDENTIFIED]["counts"]["removed"]
        assert removed["TIFF tag 270"] == removed["TIFF tag 65000"] == 1
        assert removed["EXIF and GPS tags"] == 7
        assert origin["files"][0]["name"] == "file-1.tif"

    @pytest.mark.parametrize(
        ("tag", "kind", "count", "stays"),
        [
            (274, 3, 1, True), (274, 3, 8, False), (274, 2, 1, False), (282, 5, 1, True),
            (282, 5, 2, False), (529, 5, 3, False), (338, 3, 1, True), (338, 3, 8, False),
            (301, 3, 8, False), (34735, 3, 8, False), (34736, 12, 2, False), (65000, 3, 1, False),
        ],
    )  # fmt: skip
    def test_a_tag_of_numbers_stays_as_the_standard_has_it(
        self, tmp_path: Path, tag: int, kind: int, count: int, stays: bool
    ):
        """Many short numbers are a text: the names of all of these were kept once."""
        path = tiff(tmp_path / "a.tif")
        size = {2: 1, 3: 2, 5: 8, 12: 8}[kind] * count
        text = (b"DOE^JANE 1965" * 9)[:size] if count > 1 else bytes(size)
        with GeoTiffSource.open(path) as source:
            record = dict(source._files[0].record)
        value = base64.b64encode(text).decode()
        made, _ = deidentified_record(
            {**record, "carried": {str(tag): [kind, count, value]}}, "file-1.tif"
        )
        assert (str(tag) in made["carried"]) == stays

    def test_what_a_sidecar_says_of_the_layout_is_a_word_or_goes(self, tmp_path: Path):
        path = tiff(tmp_path / "a.tif")
        with GeoTiffSource.open(path) as source:
            record = dict(source._files[0].record)
        hidden = {"compress": "DOE^JANE", "reversible": "DOE^JANE", "interleave": "DOE^JANE"}
        layout = {**record["layout"], **hidden, "structure": {"COMPRESSION": "DOE^JANE"}}
        made, _ = deidentified_record({**record, "layout": layout}, "file-1.tif")
        assert "DOE" not in repr(made)
        assert made["layout"]["compress"] == "NONE"
        assert made["layout"]["block"] == record["layout"]["block"]

    def test_control_points_and_polynomials_keep_numbers(self):
        point = {"row": 1.0, "col": 2.0, "x": 3.0, "y": 4.0, "z": 0.0, "id": "Doe", "info": "Doe"}
        record: dict[str, Any] = {
            "layout": {"structure": {"COMPRESSION": "LZW", "WHO": "Doe"}}, "carried": {},
            "notes": {}, "tags": {"": {"AREA_OR_POINT": "Doe", "WHO": "Doe"}}, "band_tags": [{}],
            "crs_wkt": None, "gcps": {"crs_wkt": None, "points": [point]}, "descriptions": ["B4"],
            "rpcs": {"LINE_OFF": "1.5", "WHO": "Doe", "ERR_BIAS": "Doe"}, "units": ["Doe"],
        }  # fmt: skip
        made, went = deidentified_record(record, "file-1.tif")
        assert "Doe" not in repr(made)
        assert made["gcps"]["points"][0] == {**point, "id": "1", "info": ""}
        assert made["rpcs"] == {"LINE_OFF": "1.5"}
        assert made["descriptions"] == ["B4"]
        assert went["GDAL tags"] == 2


class TestAnImage:
    def test_a_stack_keeps_what_tells_its_bands(self, tmp_path: Path):
        paths = [tiff(tmp_path / f"DOE_JANE_{band}.tif") for band in ("B2", "B3", "JANE")]
        source = StackSource.open(*paths, **ASKED)
        assert source.info.attributes["band_names"] == ["B2", "B3", ""]
        assert b"JANE" not in b"".join(items(source).values())

    def test_flags_stay_exact_though_nothing_says_any_more_that_they_are(self, tmp_path: Path):
        quality, classes = tmp_path / "Doe_QA.tif", tmp_path / "classes.tif"
        pam = """<PAMDataset><PAMRasterBand band="1"><CategoryNames>
            <Category>Doe</Category><Category>Roe</Category></CategoryNames>
            <GDALRasterAttributeTable tableType="thematic"><FieldDefn index="0">
            <Name>Value</Name><Type>0</Type><Usage>5</Usage></FieldDefn><FieldDefn index="1">
            <Name>Class</Name><Type>2</Type><Usage>2</Usage></FieldDefn>
            <Row index="0"><F>0</F><F>Doe</F></Row></GDALRasterAttributeTable>
            </PAMRasterBand></PAMDataset>"""
        Path(f"{tiff(classes)}.aux.xml").write_text(pam)
        for path in (tiff(quality), classes):
            with GeoTiffSource.open(path) as before, GeoTiffSource.open(path, **ASKED) as after:
                assert after.info.bands[0].exact == before.info.bands[0].exact is not None
                assert "Doe" not in repr(after.info)

    def test_companions_are_not_named(self, tmp_path: Path):
        path = tiff(tmp_path / "DOE.tif")
        (tmp_path / "DOE.tif.aux.xml").write_text(
            "<PAMDataset><Metadata><MDI key='WHO'>DOE</MDI></Metadata></PAMDataset>"
        )
        source = GeoTiffSource.open(path, **ASKED)
        assert not source.info.remarks
        made = items(source)
        assert b"DOE" not in b"".join(made.values())
        assert parse_record(made["file-0"])["sidecars"] == []

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("Aperio Image Library v11\nlabel 400x400", "label"),
            ("Aperio Image Library v11\r\nmacro 1280x431", "macro"),
            ("Label", "label"),
            ("Macro", "macro"),
            ("Aperio Image Library v11\n46000x32914 [0,100 46000x32814]", None),
            ("a labelled scene", None),
        ],
    )
    def test_labels_of_slides_are_left_out(self, text: str, shown: str | None, tmp_path: Path):
        path = tiff(tmp_path / "a.tif")
        data = text.encode() + b"\0"
        append_entries(path, {270: Entry(2, len(data), data)}, "<")
        with GeoTiffSource.open(path) as source:
            assert shows_label(source._files[0].record) == shown
        if shown is not None:
            with pytest.raises(ExcludedSource, match=f"its {shown} image is left out"):
                GeoTiffSource.open(path, **ASKED)

    @pytest.mark.parametrize("name", ["label image", "Macro", "slide overview"])
    def test_labels_that_ome_xml_names_are_left_out(self, name: str, tmp_path: Path):
        levels = pyramid(70, 90)
        text = ome({"Name": "tissue", "IFD": 0}, {"Name": name, "IFD": 1}, {"Name": name, "IFD": 2})
        path = write_slide(
            tmp_path / "a.ome.tif", [levels[0], levels[0], picture(20, 20)], texts=[text],
            below=[levels[1:], levels[1:]], strips=[2],
        )  # fmt: skip
        for page in (2, 3):
            with pytest.raises(ExcludedSource, match="image is left out"):
                GeoTiffSource.open(path, **ASKED, page=page)
        for page, kept in ((1, True), (2, False)):
            spec = SourceSpec(kind="slide", paths=(str(path),), options={**ASKED, "page": page})
            if kept:
                SlideSource(spec).close()
            else:
                with pytest.raises(ExcludedSource, match="image is left out"):
                    SlideSource(spec)

    def test_pages_of_a_slide_file_that_say_nothing_are_left_out(self, tmp_path: Path):
        levels = pyramid(70, 90)
        path = write_slide(
            tmp_path / "a.tif", [levels[0], picture(20, 20), picture(40, 80)],
            below=[levels[1:]], strips=[1],
        )  # fmt: skip
        with pytest.raises(ExcludedSource, match="its unnamed image is left out"):
            GeoTiffSource.open(path, **ASKED, page=2)
        GeoTiffSource.open(path, **ASKED, page=3).close()
        GeoTiffSource.open(path, page=2).close()

    @pytest.mark.parametrize(("lens", "shown"), [(-1.0, "macro"), (-2.0, "macro"), (20.0, None)])
    def test_those_of_hamamatsu_have_no_lens(self, lens: float, shown: str | None, tmp_path: Path):
        path = tiff(tmp_path / "a.tif")
        append_entries(path, {65421: Entry(11, 1, np.float32(lens).tobytes())}, "<")
        with GeoTiffSource.open(path) as source:
            assert shows_label(source._files[0].record) == shown


def test_bands_are_known_by_numbers_and_colours():
    assert [band_of_name(text) for text in ("B8A", "04", "red", "DOE", "B2_DOE")] == [
        "B8A", "04", "red", "", "B2",
    ]  # fmt: skip
