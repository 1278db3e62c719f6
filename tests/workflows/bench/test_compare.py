"""The comparison counts every byte of ours and names what it could not read."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rich.console import Console
from typer.testing import CliRunner

from tilepress.errors import UsageError
from tilepress.pipeline.find.told import A_FILE
from tilepress.pipeline.store.reader import StoreReader
from tilepress.workflows.bench.compare import Bench, OurCodec, SpeedPlan, run_bench
from tilepress.workflows.bench.results import (
    BenchImage,
    BenchResult,
    class_table,
    file_table,
)
from tilepress.workflows.cli.app import app


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two small GeoTIFF files of one class, one of another, and two files that are no images."""
    rng = np.random.default_rng(2)
    place = tmp_path / "images"
    place.mkdir()
    for name in ("a1", "a2", "b1"):
        samples = (rng.integers(0, 9, (1, 48, 64)).cumsum(-1) + 100).astype(np.uint16)
        with rasterio.open(
            place / f"{name}.tif",
            "w",
            driver="GTiff",
            dtype="uint16",
            width=64,
            height=48,
            count=1,
            crs="EPSG:32621",
            transform=rasterio.Affine(30, 0, 0, 0, -30, 0),
        ) as image:
            image.write(samples)
    (place / "notes.bin").write_bytes(b"no image at all")
    (place / "text.tif").write_bytes(b"no image either")
    return place


@pytest.fixture
def bench(folder: Path) -> Bench:
    table = folder.parent / "MANIFEST.tsv"
    table.write_text(
        "file\tclass\nimages/a1.tif\ta\nimages/a2.tif\ta\nimages/b1.tif\tb\n", encoding="utf-8"
    )
    return run_bench([folder], ("tilepress", "zstd", "jpegxl"), table)


@pytest.fixture
def result(bench: Bench) -> BenchResult:
    return bench.results[0]


def measured(kind: str, *, flat: bool, ours: int, theirs: int) -> BenchImage:
    return BenchImage(
        path=kind,
        kind=kind,
        flat=flat,
        shape=(10, 10),
        dtype="uint16",
        samples=100,
        raw_bytes=200,
        sizes={"tilepress": ours, "jpegxl": theirs},
        seconds=0.0,
    )


class TestTheComparisonIsComplete:
    """A figure stands for all images of its class, or it is not shown."""

    def test_classes_come_from_the_manifest(self, result: BenchResult):
        assert {kind: len(images) for kind, images in result.by_class().items()} == {"a": 2, "b": 1}

    def test_every_codec_has_a_size(self, result: BenchResult):
        names = {"tilepress", "zstd", "jpegxl", "best"}
        assert all(set(image.sizes) == names for image in result.images)

    def test_what_is_no_image_is_listed(self, bench: Bench):
        """By its path, but for what may be DICOM, whose names may be those of patients."""
        named, unnamed = sorted(bench.failures)  # a path begins with "/"
        assert named.startswith("opening /")
        assert "text.tif: it is not an image" in named
        assert named.count("opening") == 1
        assert unnamed.startswith(f"opening {A_FILE}: it is not an image")

    def test_json_holds_the_same_figures(self, bench: Bench):
        written = json.loads(json.dumps(bench.to_json()))["results"][0]
        image = bench.results[0].by_class()["b"][0]
        assert written["classes"]["b"]["jpegxl"] == pytest.approx(image.bits("jpegxl"))
        assert {"tilepress to jpegxl", "tilepress to best"} == set(written["changes_percent"]["b"])

    def test_the_tables_show_every_class(self, result: BenchResult):
        console = Console(record=True, width=140, file=io.StringIO())
        console.print(class_table(result))
        console.print(file_table(result))
        text = console.export_text()
        assert "mean over classes" in text
        assert "b1.tif" in text

    def test_the_page_holds_every_table_and_nothing_from_elsewhere(self, bench: Bench):
        page = bench.to_html()
        assert page.count("<table>") == len(bench.tables()) == 2
        assert "b1.tif" in page
        assert "http" not in page
        assert "<script" not in page

    def test_names_of_files_are_no_markup(self, result: BenchResult):
        result.images.append(measured("<b>&", flat=True, ours=1, theirs=1))
        assert "&lt;b&gt;&amp;" in Bench(results=[result]).to_html()
        assert "<b>" not in Bench(results=[result]).to_html()


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> list[BenchResult]:
    place = tmp_path_factory.mktemp("near") / "a.npy"
    rng = np.random.default_rng(7)
    np.save(place, (900 + rng.integers(0, 300, (64, 64))).astype(np.uint16))
    codecs = ("tilepress", "jpegls", "jpegxl", "lerc")
    return run_bench([place], codecs, max_errors=(0, 1, 2, 4, 16)).results


class TestNearLosslessIsATableOfItsOwn:
    """Every bound has its own sizes, and they shrink as it grows."""

    def test_in_the_order_asked_for(self, tables: list[BenchResult]):
        assert [table.max_error for table in tables] == [0, 1, 2, 4, 16]

    @pytest.mark.parametrize("codec", ["tilepress", "jpegls", "jpegxl", "lerc", "best"])
    def test_sizes_shrink(self, tables: list[BenchResult], codec: str):
        sizes = [table.images[0].sizes[codec] for table in tables]
        assert sizes == sorted(sizes, reverse=True)
        assert len(set(sizes)) == len(sizes)

    def test_the_best_is_none_of_ours(self, tables: list[BenchResult]):
        for table in tables:
            sizes = table.images[0].sizes
            assert sizes["best"] == min(sizes["jpegls"], sizes["jpegxl"], sizes["lerc"])


class TestTilepressIsCountedAsStored:
    """Ours is the size of the shard objects that ``compress`` writes, to the byte."""

    def test_equals_the_shards_of_a_store(self, folder: Path, tmp_path: Path):
        import tilepress

        assert tilepress.compress(folder / "a1.tif", tmp_path / "a1.zarr", workers=0).ok
        statement = StoreReader.open(tmp_path / "a1.zarr").statement
        result = run_bench([folder / "a1.tif"], ("tilepress",)).results[0]
        assert result.images[0].sizes["tilepress"] == statement["stored_bytes"]


class TestCodecsOfOursAreNamed:
    """``tilepress[@TIER][:MODEL]``: a model's path may hold any sign."""

    @pytest.mark.parametrize(
        ("name", "tier", "model"),
        [
            ("tilepress", "standard", "auto"),
            ("tilepress@standard", "standard", "auto"),
            ("tilepress:wave-2-fast", "standard", "wave-2-fast"),
            ("tilepress@standard:wave-2-fast", "standard", "wave-2-fast"),
        ],
    )
    def test_tier_and_model(self, name: str, tier: str, model: str):
        assert OurCodec.parse(name) == OurCodec(name, tier, model)

    @pytest.mark.parametrize("name", ["png", "tilepress2", "tilepress@", "tilepress@enormous"])
    def test_others_are_refused_before_anything_is_read(self, name: str, folder: Path):
        with pytest.raises(UsageError, match=f"got {name}"):
            run_bench([folder / "nowhere"], (name,))


class TestTheCommandLine:
    def test_writes_what_it_shows(self, folder: Path, tmp_path: Path):
        out, page = tmp_path / "out.json", tmp_path / "out.html"
        done = CliRunner().invoke(
            app,
            [
                *("bench", str(folder / "a1.tif"), "--codecs", "tilepress,jpegls"),
                *("--max-error", "0,3", "--json", str(out), "--html", str(page)),
            ],
        )
        assert done.exit_code == 0
        assert "max error 3" in done.output
        assert [table["max_error"] for table in json.loads(out.read_text())["results"]] == [0, 3]
        assert "max error 3" in page.read_text(encoding="utf-8")

    def test_speeds_alone(self, folder: Path, tmp_path: Path):
        out = tmp_path / "out.json"
        done = CliRunner().invoke(
            app,
            [
                *("bench", str(folder / "a1.tif"), "--codecs", "tilepress,jpegls"),
                *("--no-sizes", "--speed", "3", "--threads", "2", "--json", str(out)),
            ],
        )
        assert done.exit_code == 0
        written = json.loads(out.read_text())
        assert written["results"] == []
        assert [row["codec"] for row in written["speed"]["rows"]] == ["tilepress", "jpegls"]

    @pytest.mark.parametrize("options", [["--max-error", "1,x"], ["--max-error", "-1"]])
    def test_odd_errors_are_refused(self, folder: Path, options: list[str]):
        done = CliRunner().invoke(app, ["bench", str(folder), *options])
        assert isinstance(done.exception, UsageError)

    def test_fewer_than_three_rounds_are_no_comparison(self, folder: Path):
        done = CliRunner().invoke(app, ["bench", str(folder), "--speed", "2"])
        assert isinstance(done.exception, UsageError)
        assert "None" not in str(done.exception)  # threads were not given


class TestSizesAndSpeedsInOneRun:
    def test_both_are_there(self, folder: Path):
        plan = SpeedPlan(rounds=3, limit_bytes=2**20, threads=1)
        bench = run_bench([folder / "a1.tif"], ("tilepress", "jpegxl"), speed=plan)
        assert bench.speed is not None
        assert {row.codec for row in bench.speed.rows} == {"tilepress", "jpegxl e3", "jpegxl e7"}
        assert bench.results[0].images
