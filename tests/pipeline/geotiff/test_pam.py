"""What values stand for comes with the image: kept, told, and given back."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tilepress.errors import DamagedStore
from tilepress.pipeline.geotiff.export import export_geotiff
from tilepress.pipeline.geotiff.pam import band_attributes, band_table, read_pam, write_pam
from tilepress.pipeline.geotiff.source import GeoTiffSource

from .test_export import MemoryReader, noise, write

CATEGORIES = (
    "<CategoryNames><Category>none</Category><Category>forêt &amp; bois</Category>"
    "<Category/></CategoryNames>"
)
COLORS = '<ColorTable><Entry c1="255" c2="10" c3="20" c4="128"/></ColorTable>'
HISTOGRAMS = "<Histograms><HistItem><HistMin>0</HistMin></HistItem></Histograms>"


def table(kind: str = "thematic", *, usages: tuple[int, int] = (5, 2)) -> str:
    fields = zip(("Value", "Class"), (0, 2), usages, strict=True)
    columns = "".join(
        f'<FieldDefn index="{at}"><Name>{name}</Name><Type>{type_}</Type><Usage>{usage}</Usage>'
        "</FieldDefn>"
        for at, (name, type_, usage) in enumerate(fields)
    )
    rows = '<Row index="0"><F>1</F><F>water</F></Row><Row index="1"><F>5</F><F>urban</F></Row>'
    return (
        f'<GDALRasterAttributeTable tableType="{kind}">{columns}{rows}</GDALRasterAttributeTable>'
    )


def pam(*bands: str) -> str:
    text = "".join(
        f'<PAMRasterBand band="{n}">{one}</PAMRasterBand>' for n, one in enumerate(bands, 1)
    )
    return f"<PAMDataset>{text}</PAMDataset>"


def told(*bands: str) -> dict[str, Any]:
    kept = read_pam(io.BytesIO(pam(*bands).encode()))
    numbers = [str(n) for n in range(1, len(bands) + 1)]
    return band_attributes([band_table(kept[n]) if n in kept else None for n in numbers])


class TestReadersAreTold:
    def test_of_categories(self):
        assert told(CATEGORIES) == {
            "flag_values": [0, 1],
            "flag_meanings": "none forêt_bois",
            "category_names": ["none", "forêt & bois"],
        }

    @pytest.mark.parametrize("usages", [(5, 2), (5, 0), (3, 2)])
    def test_of_a_table_of_attributes(self, usages: tuple[int, int]):
        found = told(table(usages=usages))
        assert (found["flag_values"], found["flag_meanings"]) == ([1, 5], "water urban")

    def test_of_no_classes_where_values_are_measured(self):
        assert told(table("athematic")) == {}

    def test_of_colours(self):
        assert told(COLORS) == {"color_table": ["#ff0a1480"]}

    def test_of_each_band(self):
        assert [one["band"] for one in told("", CATEGORIES, table())["band_flags"]] == [2, 3]


class TestAnImage:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = write(tmp_path / "a.tif", np.stack([noise((20, 30), "uint8", n) for n in (1, 2)]))
        bands = (CATEGORIES + HISTOGRAMS, table() + COLORS)
        (tmp_path / "a.tif.aux.xml").write_text(pam(*bands), encoding="utf-8")
        return path

    def test_gets_its_tables_back(self, path: Path, tmp_path: Path):
        with GeoTiffSource.open(path) as source:
            assert [band.exact is not None for band in source.info.bands] == [True, True]
            reader = MemoryReader(source)
        made, beside = export_geotiff(reader, tmp_path / "out")
        assert "HistItem" in beside.read_text()
        with GeoTiffSource.open(path) as before, GeoTiffSource.open(made) as after:
            assert before.info.attributes["band_flags"] == after.info.attributes["band_flags"]

    def test_gets_those_of_the_bands_that_are_exported(self, path: Path, tmp_path: Path):
        with GeoTiffSource.open(path) as source:
            reader = MemoryReader(source)
        made, beside = export_geotiff(reader, tmp_path / "b.tif", bands=[2])
        assert "water" in beside.read_text()
        assert "HistItem" not in beside.read_text()
        with GeoTiffSource.open(made) as after:
            assert after.info.attributes["flag_values"] == [1, 5]

    def test_is_taken_without_tables_that_cannot_be_read(self, path: Path):
        (path.parent / "a.tif.aux.xml").write_text("<PAMDataset>")
        with GeoTiffSource.open(path) as source:
            assert "are not kept: it is no XML" in source.info.remarks[0]

    def test_tells_statistics(self, tmp_path: Path):
        from .test_export import opened

        path = write(tmp_path / "s.tif", noise((20, 30)))
        with opened(path, "r+") as file:
            file.update_tags(1, STATISTICS_MINIMUM="1", STATISTICS_MEAN="2.5")
        with GeoTiffSource.open(path) as source:
            assert source.info.attributes["statistics"] == {"minimum": 1.0, "mean": 2.5}


def test_a_forged_record_declares_nothing(tmp_path: Path):
    text = '<!DOCTYPE a [<!ENTITY b "c">]><PAMRasterBand>&b;</PAMRasterBand>'
    with pytest.raises(DamagedStore, match="not its own"):
        write_pam(tmp_path / "a.tif", {1: text}, same_samples=True)
