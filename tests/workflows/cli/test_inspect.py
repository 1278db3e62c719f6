"""Looking at stores on the command line: what lies there, whether it is sound, and back out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio

from tilepress.pipeline.archive.repair import StoreRepair
from tilepress.pipeline.archive.verified import StoreCheck

from ...helpers.samples import smooth
from .conftest import Command, write_tiff


class TestExitCodes:
    """A script tells damage from what nobody can judge."""

    @pytest.mark.parametrize("name", ["notes.txt", "empty", "empty.zarr", "foreign.zarr"])
    def test_3_where_what_is_verified_is_no_store(self, call: Command, name: str, tmp_path: Path):
        path = tmp_path / name
        if path.suffix == ".txt":
            path.write_text("no store")
        else:
            path.mkdir()
        if name == "foreign.zarr":
            (path / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group"}')
        done = call("verify", path)
        assert done.returncode == 3
        assert f"{path}: unknown" in done.stdout
        assert "Traceback" not in done.stderr


class TestShelf:
    """ls and info tell what lies there, finished or not."""

    @pytest.fixture
    def archive(self, call: Command, image: Path, tmp_path: Path) -> Path:
        source = tmp_path / "in"
        (source / "deep").mkdir(parents=True)
        shutil.copy(image, source / "deep")
        write_tiff(source / "map.tif")
        call("compress", source, tmp_path / "out", "--workers", 0)
        (tmp_path / "out" / "half.zarr" / "0" / "image" / "c").mkdir(parents=True)
        return tmp_path / "out"

    def test_ls_lists_sealed_and_marks_unsealed(self, call: Command, archive: Path):
        done = call("ls", archive)
        assert done.returncode == 0, done.stderr
        lines = {line.split()[0]: line for line in done.stdout.splitlines() if ".zarr" in line}
        assert set(lines) == {"deep/scene.zarr", "half.zarr", "map.zarr"}
        assert "unsealed" in lines["half.zarr"]
        assert "lossless" in lines["map.zarr"]
        assert "EPSG:32631" in lines["map.zarr"]
        assert "3×150×200" in lines["deep/scene.zarr"]

    def test_a_store_that_is_gone_is_damage(self, call: Command, archive: Path):
        """Whoever verifies an archive asks for all of it."""
        shutil.rmtree(archive / "half.zarr")
        assert call("verify", archive).returncode == 0
        shutil.rmtree(archive / "map.zarr")
        done = call("verify", archive)
        assert done.returncode == 1
        assert "the catalogue lists it, and it is gone" in done.stdout

    def test_a_damaged_store_is_one_and_not_missing(self, call: Command, archive: Path):
        (archive / "map.zarr/zarr.json").unlink()
        done = call("verify", archive, "--source", archive.parent / "in")
        assert "holds no store of it" not in done.stdout

    def test_a_name_of_a_store_stays_in_its_line(self, call: Command, archive: Path):
        odd = (archive / "map.zarr").rename(archive / "map\n\x1b[31m.zarr")
        for line in (("ls", archive), ("verify", archive), ("info", odd)):
            done = call(*line)
            assert "map\\n\\x1b[31m.zarr" in done.stdout
            assert "\x1b" not in done.stdout

    @pytest.mark.parametrize("command", ["verify", "repair"])
    def test_long_work_is_told_as_it_goes(
        self, call: Command, archive: Path, command: str, capfd: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ):  # fmt: skip
        def work(*_: object, **__: object) -> Iterator[StoreCheck | StoreRepair]:
            kind = StoreCheck if command == "verify" else StoreRepair
            yield kind(store="first", state="sound")
            assert capfd.readouterr().out == "first: sound\n"
            yield kind(store="second", state="sound")

        monkeypatch.setattr("tilepress.pipeline.archive.verify.check_stores", work)
        monkeypatch.setattr("tilepress.pipeline.archive.repair.repair_stores", work)
        done = call(command, archive, "--source", archive)
        assert (done.returncode, done.stdout) == (0, "second: sound\n")

    def test_repair_names_what_is_gone(self, call: Command, archive: Path):
        """An update of the catalogue would forget it, so that nobody missed it again."""
        source = archive.parent / "in"
        shard = next(p for p in (archive / "deep/scene.zarr/0/image/c").rglob("*") if p.is_file())
        shard.unlink()
        shutil.rmtree(archive / "map.zarr")
        for _ in range(2):
            done = call("repair", archive, "--source", source)
            assert done.returncode == 1
            assert "map.zarr: the catalogue lists it, and it is gone" in done.stdout

    def test_repair_lists_in_the_catalogue_what_it_repaired(self, call: Command, archive: Path):
        shutil.rmtree(archive / "half.zarr")
        manifest = archive / "map.zarr/zarr.json"
        manifest.write_bytes(manifest.read_bytes()[:-2])
        collection = archive / "catalogue/collection.json"
        source = archive.parent / "in"
        assert "run tilepress repair" in call("compress", source, archive, "--workers", 0).stderr
        assert "map" not in collection.read_text()
        done = call("repair", archive, "--source", source)
        assert done.returncode == 0, done.stdout
        assert "map" in collection.read_text()

    def test_ls_as_json(self, call: Command, archive: Path):
        told = {item["path"]: item for item in json.loads(call("ls", archive, "--json").stdout)}
        assert told["map.zarr"]["state"] == "sealed"
        assert told["map.zarr"]["shape"] == [100, 100]
        assert told["half.zarr"]["state"] == "unsealed"

    def test_info(self, call: Command, archive: Path):
        assert "EPSG:32631" in call("info", archive / "map.zarr").stdout
        told = json.loads(call("info", archive / "map.zarr", "--json").stdout)
        assert told["tilepress"]["loss"]["lossless"] is True
        assert told["dtype"] == "uint16"

    def test_info_of_an_unfinished_store(self, call: Command, archive: Path):
        done = call("info", archive / "half.zarr")
        assert done.returncode == 1
        assert "not sealed" in done.stderr

    def test_verify_says_sound_damaged_or_unknown(self, call: Command, archive: Path):
        assert call("verify", archive / "map.zarr").returncode == 0
        assert call("verify", archive / "half.zarr").returncode == 3
        assert call("verify", archive).returncode == 3
        shard = next(p for p in (archive / "map.zarr/0/image/c").rglob("*") if p.is_file())
        data = bytearray(shard.read_bytes())
        data[len(data) // 2] ^= 4
        shard.write_bytes(data)
        done = call("verify", archive)
        assert done.returncode == 1
        assert "map.zarr: 0/image/c/0/0: " in done.stdout

    def test_verify_against_the_source(self, call: Command, archive: Path, tmp_path: Path):
        source = tmp_path / "in" / "map.tif"
        assert call("verify", archive / "map.zarr", "--source", source).returncode == 0
        with rasterio.open(source, "r+") as file:
            samples = file.read(1)
            samples[7, 8] += 1
            file.write(samples, 1)
        done = call("verify", archive / "map.zarr", "--source", source, "--json")
        assert done.returncode == 1
        (told,) = json.loads(done.stdout)
        assert (told["state"], told["differs"]) == ("damaged", True)
        done = call("verify", archive / "map.zarr", "--source", source)
        assert "map.zarr: sound, and differs from its source" in done.stdout
        shard = next(p for p in (archive / "map.zarr/0/image/c").rglob("*") if p.is_file())
        shard.unlink()
        done = call("verify", archive / "map.zarr", "--source", source)
        assert "map.zarr: damaged" in done.stdout
        assert call("verify", archive, "--source", tmp_path / "none").returncode == 2

    def test_verify_an_archive_against_its_sources(self, call: Command, tmp_path: Path):
        folder = tmp_path / "in" / "deep"
        folder.mkdir(parents=True)
        for seed, name in enumerate(("a", "b", "c")):
            np.save(folder / f"{name}.npy", smooth((40, 50), seed))
        out = tmp_path / "out"
        assert call("compress", tmp_path / "in", out, "--workers", "0").returncode == 0
        line = ("verify", out, "--source", tmp_path / "in")
        assert call(*line).returncode == 0
        np.save(folder / "b.npy", smooth((40, 50), 7))
        (folder / "c.npy").rename(folder / "d.npy")
        told = json.loads(call(*line, "--json").stdout)
        states = {Path(check["store"]).name: check["state"] for check in told}
        assert states == {
            "a.zarr": "sound",
            "b.zarr": "damaged",
            "c.zarr": "unknown",
            "d.npy": "unknown",
        }

    def test_export_of_a_part(self, call: Command, archive: Path, tmp_path: Path):
        out = tmp_path / "part.tif"
        with rasterio.open(tmp_path / "in" / "map.tif") as file:
            left, top, pixel = file.transform.c, file.transform.f, file.transform.a
        box = (left + 20 * pixel, top - 40 * pixel, left + 70 * pixel, top - 10 * pixel)
        text = ",".join(map(repr, box))
        done = call("export", archive / "map.zarr", out, "--bands", "1", "--bbox", text)
        assert done.returncode == 0, done.stderr
        with rasterio.open(out) as file:
            assert np.array_equal(file.read(1), smooth((100, 100))[10:40, 20:70])
        for line in (["--bands", "a"], ["--bands", "3-1"], ["--bbox", "1,2"], ["--slices", "1"]):
            done = call("export", archive / "map.zarr", tmp_path / "none.tif", *line)
            assert done.returncode == 2, done.stderr
            assert len(done.stderr.splitlines()) == 1

    def test_export_into_a_folder(self, call: Command, archive: Path, tmp_path: Path):
        for _ in range(2):
            done = call("export", archive / "map.zarr", tmp_path / "back")
            assert done.stdout.strip() == str(tmp_path / "back" / "map.tif") or done.returncode == 1
        assert "exists" in done.stderr

    def test_export_gives_the_pixels_back(self, call: Command, archive: Path, tmp_path: Path):
        done = call("export", archive / "map.zarr", tmp_path / "back.tif")
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == str(tmp_path / "back.tif")
        with rasterio.open(tmp_path / "back.tif") as file:
            assert np.array_equal(file.read(1), smooth((100, 100)))
            assert file.crs.to_epsg() == 32631


class TestDecoders:
    """How lossy samples are made is a choice of export and show."""

    @pytest.fixture
    def store(self, call: Command, tmp_path: Path) -> Path:
        write_tiff(tmp_path / "it.tif")
        line = ("--codec", "ntc", "--psnr", 30, "--workers", 0)
        done = call("compress", tmp_path / "it.tif", tmp_path / "it.zarr", *line)
        assert done.returncode == 0, done.stderr
        return tmp_path / "it.zarr"

    def test_of_an_export_and_of_a_picture(self, call: Command, store: Path, tmp_path: Path):
        done = call("export", store, tmp_path / "seen.tif", "--decoder", "view")
        assert done.returncode == 0, done.stderr
        with rasterio.open(tmp_path / "seen.tif") as file:
            assert "made up" in file.tags()["TILEPRESS_DECODER"]
        for decoder in ("base", "view"):
            png = tmp_path / f"{decoder}.png"
            assert call("show", store, "--png", png, "--decoder", decoder).returncode == 0
        assert (tmp_path / "base.png").read_bytes() != (tmp_path / "view.png").read_bytes()

    def test_one_that_nobody_knows(self, call: Command, store: Path, tmp_path: Path):
        done = call("export", store, tmp_path / "out.tif", "--decoder", "gun")
        assert done.returncode != 0
        assert len(done.stderr.splitlines()) == 1
        assert "got 'gun', want base, net, gan, view" in done.stderr
