"""Runs: every image that can be stored is, what cannot be is named, and again costs nothing."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
import zarr
from rasterio.errors import NotGeoreferencedWarning

import tilepress
from tilepress.errors import UsageError
from tilepress.pipeline.archive import coding
from tilepress.pipeline.archive import write as task
from tilepress.pipeline.archive.lease import Lease
from tilepress.pipeline.archive.plan import ledger_folder
from tilepress.pipeline.storage import retry as patience
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.store.writer import StoreWriter
from tilepress.workflows.report.telling import Event, ShardStored, SilentProgress
from tilepress.workflows.run.driver import NoRoom

from ...helpers.samples import smooth
from .conftest import run, shard_files, stored


class Interrupt(SilentProgress):
    """Presses Ctrl-C after some shards."""

    def __init__(self, after: int) -> None:
        self.left = after

    def tell(self, event: Event) -> None:
        if isinstance(event, ShardStored):
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt


class TestStores:
    """What comes out is what went in, for a reader that knows zarr only."""

    def test_one_image_into_one_store(self, image: Path, tmp_path: Path):
        report = run(image, tmp_path / "one.zarr")
        assert report.ok
        assert np.array_equal(stored(tmp_path / "one.zarr"), np.load(image))
        (result,) = report.images
        assert (result.status, result.raw_bytes) == ("written", 180_000)
        assert not (tmp_path / ".tilepress").exists()

    def test_an_archive_mirrors_its_sources(self, image: Path, tmp_path: Path):
        (tmp_path / "in" / "deep").mkdir(parents=True)
        np.save(tmp_path / "in" / "deep" / "b.npy", smooth((40, 50)))
        run(tmp_path / "in", image, tmp_path / "out")
        assert np.array_equal(stored(tmp_path / "out" / "deep" / "b.zarr"), smooth((40, 50)))
        assert np.array_equal(stored(tmp_path / "out" / "scene.zarr"), np.load(image))

    def test_near_lossless_states_what_it_did(self, image: Path, tmp_path: Path):
        run(image, tmp_path / "one.zarr", max_error=2)
        statement = zarr.open_group(tmp_path / "one.zarr", mode="r").attrs["tilepress"]
        assert statement["loss"]["max_error"] == 2
        assert statement["max_error_measured"] <= 2

    def test_a_mask_is_stored_beside_the_image(self, tmp_path: Path):
        path = tmp_path / "masked.tif"
        mask = np.zeros((90, 120), np.uint8)
        mask[10:70, 30:] = 255
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
            rasterio.open(
                path, "w", driver="GTiff", width=120, height=90, count=1, dtype="uint16",
                crs="EPSG:32631", transform=rasterio.Affine(10, 0, 5e5, 0, -10, 4e6),
            ) as file,
        ):  # fmt: skip
            file.write(smooth((90, 120)), 1)
            file.write_mask(mask)
        report = run(path, tmp_path / "masked.zarr")
        assert report.ok, report.failures
        root = zarr.open_group(tmp_path / "masked.zarr", mode="r")
        assert np.array_equal(root["0/mask"][...], mask)

    def test_with_workers_the_same_bytes_come_out(self, image: Path, tmp_path: Path):
        """What runs where is not a part of the format."""
        run(image, tmp_path / "a" / "x.zarr", workers=0)
        run(image, tmp_path / "b" / "x.zarr", workers=1)
        trees = [
            {
                str(path.relative_to(tmp_path / name)): path.read_bytes()
                for path in (tmp_path / name).rglob("*")
                if path.is_file()
            }
            for name in "ab"
        ]
        assert trees[0] == trees[1]


class TestAgain:
    """The same line may be run at any time; it does what is left to do."""

    def test_unchanged_images_are_left_alone(self, image: Path, tmp_path: Path):
        run(image, tmp_path / "out")
        before = shard_files(tmp_path / "out" / "scene.zarr")
        report = run(image, tmp_path / "out")
        assert [result.status for result in report.images] == ["unchanged"]
        assert shard_files(tmp_path / "out" / "scene.zarr") == before

    def test_finished_shards_are_not_done_again(self, many_shards: Path, tmp_path: Path):
        store = tmp_path / "many.zarr"
        with pytest.raises(KeyboardInterrupt):
            run(many_shards, store, tile=64, progress=Interrupt(5))
        before = shard_files(store)
        assert len(before) == 5
        report = run(many_shards, store, tile=64)
        (result,) = report.images
        assert (result.shards, result.shards_reused) == (16, 5)
        after = shard_files(store)
        assert {name: after[name] for name in before} == before
        assert np.array_equal(stored(store), np.load(many_shards))
        assert not (tmp_path / ".tilepress").exists()

    def test_an_unfinished_store_cannot_be_opened(self, many_shards: Path, tmp_path: Path):
        store = tmp_path / "many.zarr"
        with pytest.raises(KeyboardInterrupt):
            run(many_shards, store, tile=64, progress=Interrupt(5))
        with pytest.raises(FileNotFoundError):
            zarr.open(store, mode="r")

    @pytest.mark.parametrize("damage", ["cut", "flip", "remove"])
    def test_a_damaged_shard_is_done_again(self, many_shards: Path, tmp_path: Path, damage: str):
        """A ledger says what was written, not what a disk made of it."""
        store = tmp_path / "many.zarr"
        with pytest.raises(KeyboardInterrupt):
            run(many_shards, store, tile=64, progress=Interrupt(5))
        victim = store / next(iter(shard_files(store)))
        data = bytearray(victim.read_bytes())
        data[7] ^= 1
        if damage == "remove":
            victim.unlink()
        else:
            victim.write_bytes(data if damage == "flip" else data[:-1])
        (result,) = run(many_shards, store, tile=64).images
        assert result.shards_reused == 4
        assert np.array_equal(stored(store), np.load(many_shards))

    def test_a_torn_ledger_entry_counts_as_none(self, many_shards: Path, tmp_path: Path):
        store = tmp_path / "many.zarr"
        with pytest.raises(KeyboardInterrupt):
            run(many_shards, store, tile=64, progress=Interrupt(5))
        entries = sorted(Path(ledger_folder(store)).rglob("image-*.json"))
        entries[0].write_bytes(entries[0].read_bytes()[:20])
        (result,) = run(many_shards, store, tile=64).images
        assert result.shards_reused == 4

    def test_what_a_seal_left_behind_is_cleared(self, image: Path, tmp_path: Path):
        """The last thing that a run removes is its ledger; it may be killed before that."""
        run(image, tmp_path / "scene.zarr")
        statement = zarr.open_group(tmp_path / "scene.zarr", mode="r").attrs["tilepress"]
        left = Path(ledger_folder(tmp_path / "scene.zarr") / statement["plan_digest"])
        left.mkdir(parents=True)
        (left / "image-0.0.0.json").write_text("{}")
        report = run(image, tmp_path / "scene.zarr")
        assert [result.status for result in report.images] == ["unchanged"]
        assert not (tmp_path / ".tilepress").exists()


class TestDestinations:
    """A run never replaces what it did not write, unless told to."""

    def test_a_store_of_another_image_is_kept(self, image: Path, tmp_path: Path):
        run(image, tmp_path / "x.zarr")
        np.save(tmp_path / "other.npy", smooth((30, 40), seed=5))
        report = run(tmp_path / "other.npy", tmp_path / "x.zarr")
        assert [failure.kind for failure in report.failures] == ["destination-conflict"]
        assert np.array_equal(stored(tmp_path / "x.zarr"), np.load(image))

    def test_other_options_are_another_store(self, image: Path, tmp_path: Path):
        run(image, tmp_path / "x.zarr")
        report = run(image, tmp_path / "x.zarr", max_error=1)
        assert [failure.kind for failure in report.failures] == ["destination-conflict"]
        assert "its max error is 0, this run's 1" in report.failures[0].message
        (failure,) = run(image, tmp_path / "x.zarr", tier="fast").failures
        assert "it was written with tier standard, this run has fast" in failure.message
        os.utime(image, ns=(0, 5))
        (failure,) = run(image, tmp_path / "x.zarr").failures
        assert "its source has changed since" in failure.message

    def test_a_folder_that_is_no_store_is_kept(self, image: Path, tmp_path: Path):
        (tmp_path / "x.zarr").mkdir()
        (tmp_path / "x.zarr" / "thesis.txt").write_text("years of work")
        report = run(image, tmp_path / "x.zarr")
        assert [failure.kind for failure in report.failures] == ["destination-conflict"]
        assert (tmp_path / "x.zarr" / "thesis.txt").exists()

    def test_force_replaces(self, image: Path, tmp_path: Path):
        run(image, tmp_path / "x.zarr")
        np.save(tmp_path / "other.npy", smooth((30, 40), seed=5))
        assert run(tmp_path / "other.npy", tmp_path / "x.zarr", force=True).ok
        assert np.array_equal(stored(tmp_path / "x.zarr"), smooth((30, 40), seed=5))

    @pytest.mark.slow
    def test_another_plan_begun_there_is_kept(self, many_shards: Path, tmp_path: Path):
        store = tmp_path / "many.zarr"
        with pytest.raises(KeyboardInterrupt):
            run(many_shards, store, tile=64, progress=Interrupt(5))
        report = run(many_shards, store, tile=32)
        assert [failure.kind for failure in report.failures] == ["destination-conflict"]
        assert run(many_shards, store, tile=32, force=True).ok
        assert not (tmp_path / ".tilepress").exists()

    @pytest.mark.slow
    def test_a_forced_run_that_was_interrupted_goes_on(self, many_shards: Path, tmp_path: Path):
        store = tmp_path / "many.zarr"
        run(many_shards, store, tile=32)
        with pytest.raises(KeyboardInterrupt):
            run(many_shards, store, tile=64, force=True, progress=Interrupt(5))
        (result,) = run(many_shards, store, tile=64, force=True).images
        assert result.shards_reused == 5

    def test_a_store_that_another_process_writes_is_left_to_it(self, image: Path, tmp_path: Path):
        lease = Lease.acquire(ledger_folder(tmp_path / "x.zarr"))
        report = run(image, tmp_path / "x.zarr")
        assert [failure.kind for failure in report.failures] == ["destination-conflict"]
        assert not (tmp_path / "x.zarr").exists()
        lease.release()
        assert run(image, tmp_path / "x.zarr").ok

    def test_two_sources_of_one_name_do_not_mix(self, tmp_path: Path):
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            np.save(tmp_path / name / "same.npy", smooth((30, 40), seed=ord(name)))
        report = run(tmp_path / "a", tmp_path / "b", tmp_path / "out")
        assert len(report.images) == 1
        assert [failure.kind for failure in report.failures] == ["destination-conflict"]
        assert np.array_equal(stored(tmp_path / "out" / "same.zarr"), smooth((30, 40), seed=97))
        # whichever is planned first next time, the store remains that of the first
        again = run(tmp_path / "b", tmp_path / "a", tmp_path / "out")
        assert [Path(failure.source).parent.name for failure in again.failures] == ["b"]
        assert [image.status for image in again.images] == ["unchanged"]


class TestFailures:
    """One bad file must not cost the archive; and nobody may think that it is stored."""

    def test_the_other_inputs_are_done(self, image: Path, tmp_path: Path):
        source = tmp_path / "in"
        source.mkdir()
        np.save(source / "good.npy", smooth((60, 70)))
        (source / "torn.npy").write_bytes((image.read_bytes())[:5000])
        (source / "page.zip").write_bytes(b"hello")
        report = run(source, tmp_path / "gone.tif", tmp_path / "out")
        assert [Path(result.store).name for result in report.images] == ["good.zarr"]
        assert sorted(Path(f.source).name for f in report.failures) == [
            "gone.tif", "page.zip", "torn.npy",
        ]  # fmt: skip
        assert all("\n" not in failure.line for failure in report.failures)
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
            "catalogue",
            "good.zarr",
        ]

    def test_a_source_that_changes_meanwhile_is_not_sealed(self, many_shards: Path, tmp_path: Path):
        class Touch(SilentProgress):
            def tell(self, event: Event) -> None:
                if isinstance(event, ShardStored):
                    os.utime(many_shards, ns=(0, 5))

        report = run(many_shards, tmp_path / "x.zarr", tile=64, progress=Touch())
        assert [failure.kind for failure in report.failures] == ["damaged-source"]
        assert "changed while it was read" in report.failures[0].message
        assert not (tmp_path / "x.zarr" / "zarr.json").exists()

    def test_passing_storage_errors_are_waited_out(
        self, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        failures = iter([OSError(5, "Input/output error"), OSError(116, "Stale file handle")])
        write = StoreWriter.write_shard

        def flaky(self: object, *arguments: object) -> None:
            for error in failures:
                raise error
            write(self, *arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(StoreWriter, "write_shard", flaky)
        monkeypatch.setattr(patience, "STORAGE_WAIT_S", 0.001)
        assert run(image, tmp_path / "x.zarr").ok

    def test_a_full_disk_is_one_line_and_resumable(
        self, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        def full(*_: object) -> None:
            raise OSError(28, "No space left on device", str(tmp_path / "x.zarr"))

        with monkeypatch.context() as patch:
            patch.setattr(StoreWriter, "write_shard", full)
            with pytest.raises(NoRoom) as caught:
                run(image, tmp_path / "x.zarr")
        assert str(caught.value) == (
            f"writing into {tmp_path / 'x.zarr'}: No space left on device; make room and run the "
            "same line again to go on"
        )
        assert run(image, tmp_path / "x.zarr").ok

    def test_errors_of_libraries_do_not_tell_what_they_read(
        self, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        """Their text may quote a header, and a header may hold a name."""

        def quote(*_: object, **__: object) -> None:
            raise ValueError("bad value in PatientName=Doe^Jane")

        monkeypatch.setattr(coding, "encode_shard", quote)
        (failure,) = run(image, tmp_path / "x.zarr").failures
        assert failure.kind == "internal"
        assert "Doe" not in failure.line
        assert "ValueError" in failure.line

    def test_a_writer_that_lost_its_lease_stops(
        self, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(task, "holds", lambda *_: False)
        report = run(image, tmp_path / "x.zarr")
        assert [failure.kind for failure in report.failures] == ["lease-lost"]


class TestReport:
    """Scripts read it; people read the lines."""

    def test_it_is_json_with_every_image_and_failure(self, image: Path, tmp_path: Path):
        run(image, tmp_path / "gone.tif", tmp_path / "out", report=tmp_path / "report.json")
        told = json.loads((tmp_path / "report.json").read_text())
        assert told["ok"] is False
        assert [i["status"] for i in told["images"]] == ["written"]
        assert told["images"][0]["shape"] == [3, 150, 200]
        assert len(told["failures"]) == 1

    def test_nothing_found_is_a_usage_error(self, tmp_path: Path):
        (tmp_path / "empty").mkdir()
        with pytest.raises(UsageError, match=r"found no image in .*empty$"):
            run(tmp_path / "empty", tmp_path / "out")
        np.save(tmp_path / "empty/a.npy", np.zeros((9, 9)))
        (tmp_path / "empty/b.exe").write_bytes(b"1")
        left = "left out 1 file that is no image: .exe 1; left out 1 file by --include and"
        for more in ({"dry_run": True}, {}):
            with pytest.raises(UsageError, match=f"found no image in .*empty; {left}"):
                run(tmp_path / "empty", tmp_path / "out", exclude=["*.npy"], **more)


class TestRastersComeBack:
    """compress, verify against the source, export: all that is not one plain GeoTIFF."""

    def write(self, path: Path, samples: np.ndarray, driver: str = "GTiff") -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(
                path, "w", driver=driver, width=60, height=50, count=len(samples),
                dtype=samples.dtype,
            ) as file:  # fmt: skip
                file.write(samples)
        return path

    def read(self, path: Path) -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as file:
                assert file.driver == "GTiff"
                return np.asarray(file.read())

    @pytest.mark.parametrize("dtype", ["complex64", "complex128"])
    def test_complex_samples(self, tmp_path: Path, dtype: str):
        rng = np.random.default_rng(3)
        parts = rng.integers(-900, 900, (2, 2, 50, 60))
        source = tmp_path / "in.tif"
        samples = (parts[0] + 1j * parts[1]).astype(dtype)
        self.write(source, samples)
        store = tmp_path / "x.zarr"
        assert run(source, store).ok
        reader = StoreReader.open(store)
        assert reader.axes == ("component", "band", "y", "x")
        assert tilepress.verify(store, source) == []
        tilepress.export(store, tmp_path / "back.tif")
        assert self.read(tmp_path / "back.tif").tobytes() == samples.tobytes()

    def test_png(self, tmp_path: Path):
        samples = smooth((3, 50, 60)).astype(np.uint16)
        source = self.write(tmp_path / "in.png", samples, "PNG")
        report = run(source, tmp_path / "x.zarr")
        assert any("export gives a GeoTIFF" in remark for remark in report.images[0].remarks)
        assert tilepress.verify(tmp_path / "x.zarr", source) == []
        (back,) = tilepress.export(tmp_path / "x.zarr", tmp_path / "back.tif")
        assert np.array_equal(self.read(back), samples)

    def test_folders_are_mirrored_once_and_stems_kept_apart(self, tmp_path: Path):
        source = tmp_path / "in"
        image = smooth((1, 50, 60)).astype(np.uint8)
        self.write(source / "land/a.tif", image)
        self.write(source / "land/a.png", image + 1, "PNG")
        for band in (1, 2, 10):
            self.write(source / f"land/s_B{band}.tif", image + band)
        for _ in range(2):
            report = run(source, tmp_path / "out", stack="*_B*.tif")
            assert report.ok, report.failures
            stores = sorted(Path(i.store).relative_to(tmp_path / "out") for i in report.images)
            assert stores == [Path(f"land/{name}.zarr") for name in ("a-png", "a", "s")]
        for name in ("a-png", "a", "s"):
            assert tilepress.verify(tmp_path / f"out/land/{name}.zarr", source) == []


class TestChecksum:
    """A source that was changed behind its time and header is found where that is asked for."""

    @pytest.mark.parametrize("max_error", [0, 2])
    @pytest.mark.parametrize("tile", [64, 512], ids=["many shards", "small"])
    def test_other_samples_are_a_conflict(
        self, many_shards: Path, tmp_path: Path, max_error: int, tile: int
    ):
        line = (many_shards, tmp_path / "out")
        options = {"tile": tile, "max_error": max_error}
        assert run(*line, **options).written == 1
        assert run(*line, checksum=True, **options).unchanged == 1
        times = many_shards.stat()
        samples = np.load(many_shards, mmap_mode="r+")
        samples[-1, -1, -1] ^= 1 << 11
        samples.flush()
        os.utime(many_shards, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert run(*line, **options).unchanged == 1, "nobody asked"
        report = run(*line, checksum=True, **options)
        (failure,) = report.failures
        assert failure.kind == "destination-conflict"
        assert "its samples are not those of the source" in failure.message
        assert run(*line, checksum=True, force=True, **options).written == 1
        assert run(*line, checksum=True, **options).unchanged == 1

    def test_parts_are_planned_without_it(self, many_shards: Path, tmp_path: Path):
        with pytest.raises(UsageError, match="--checksum and --dashboard do not go with --part"):
            run(many_shards, tmp_path / "out", checksum=True, part="0/2", workers=None)
