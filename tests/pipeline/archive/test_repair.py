"""Repair: damaged stores come back as they were, or stay as they are; none is sealed and wrong."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import rasterio
import zarr
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tilepress.codecs.wave.codec import WaveCoder
from tilepress.codecs.weights import load_named
from tilepress.errors import UsageError
from tilepress.pipeline.archive import coding, plan
from tilepress.pipeline.archive.plan import ledger_folder
from tilepress.pipeline.archive.repair import StoreRepair, repair_stores
from tilepress.pipeline.image import grid as geometry
from tilepress.pipeline.storage.local import FolderPath
from tilepress.pipeline.storage.path import storage_path
from tilepress.pipeline.store import lean
from tilepress.pipeline.store.keys import SIGNATURE
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.store.seal import is_sealed, read_root
from tilepress.pipeline.store.signature import Signer, is_outdated
from tilepress.pipeline.verify import verify
from tilepress.workflows.run.compress import compress

from ...helpers.samples import smooth
from .. import images

pytestmark = pytest.mark.usefixtures("roomy_stores")  # of small ones: test_lean_stores.py

Tree = dict[str, bytes]


def give_small_shards(patched: pytest.MonkeyPatch) -> None:
    """Give every image shards of one chunk."""

    def small(shape: tuple[int, ...], itemsize: int, *, tile: int) -> geometry.ShardGrid:
        return geometry.choose_grid(shape, itemsize, tile=tile, max_shard_bytes=1)

    patched.setattr(plan, "choose_grid", small)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    give_small_shards(monkeypatch)


def write_scene(path: Path, seed: int = 0, epsg: int = 32631) -> Path:
    """Write a masked GeoTIFF."""
    mask = np.zeros((70, 90), np.uint8)
    mask[10:60, 20:] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            path, "w", driver="GTiff", width=90, height=70, count=1, dtype="uint16",
            crs=f"EPSG:{epsg}", transform=rasterio.Affine(10, 0, 5e5, 0, -10, 4e6),
        ) as file,
    ):  # fmt: skip
        file.write(smooth((70, 90), seed), 1)
        file.write_mask(mask)
    return path


def press(source: Path, store: str | Path, **options: object) -> None:
    report = compress(source, store, **{"workers": 0, "tile": 64, **options})  # type: ignore[arg-type]
    assert report.ok, list(report.failures)


class Made(NamedTuple):
    """A source and stores of it; tests work on copies."""

    source: Path
    stores: dict[int, Path]
    """By the bound of their error."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("made")
    source = write_scene(folder / "scene.tif")
    stores = {bound: folder / f"{bound}/scene.zarr" for bound in (0, 3)}
    with pytest.MonkeyPatch.context() as patched:
        give_small_shards(patched)
        patched.setattr(lean, "LEAN_STORED_BYTES", -1)
        for bound, store in stores.items():
            press(source, store, max_error=bound)
    return Made(source, stores)


@pytest.fixture
def source(made: Made, tmp_path: Path) -> Path:
    return shutil.copy2(made.source, tmp_path / "scene.tif")


@pytest.fixture
def store(made: Made, tmp_path: Path) -> Path:
    """Return a sealed store of four shards, with a mask."""
    return shutil.copytree(made.stores[0], tmp_path / "scene.zarr")


@pytest.fixture
def lossy(made: Made, tmp_path: Path) -> Path:
    return shutil.copytree(made.stores[3], tmp_path / "scene.zarr")


@pytest.fixture
def another_encoder(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return what makes the encoder that of another version: right records, other bytes."""
    return lambda: monkeypatch.setattr(WaveCoder, "encode", lambda *_: None)


def tree(folder: Path) -> Tree:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def stores(archive: Path) -> Tree:
    """Return what is no catalogue: that notes when a store was written."""
    return {key: data for key, data in tree(archive).items() if not key.startswith("catalogue/")}


def restore(folder: Path, content: Tree) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    for key, data in content.items():
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(data)


def mend(store: str | Path, source: str | Path, stack: str | None = None) -> StoreRepair:
    (done,) = repair_stores(store, [source], stack)
    return done


def flip(path: Path, bit: int | None = None) -> None:
    data = bytearray(path.read_bytes())
    bit = 4 * len(data) if bit is None else bit
    data[bit // 8 % len(data)] ^= 1 << bit % 8
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def remove(path: Path) -> None:
    path.unlink()


def damage(store: Path, *keys: str) -> None:
    for key in keys:
        flip(store / key)


def no_leftovers(store: Path) -> bool:
    return not (store.parent / ".tilepress").exists()


SHARD = "0/image/c/0/1"


class TestWhatIsDamagedIsAsItWas:
    """The same version gives the same bytes: of the repair nothing is to be seen."""

    @pytest.mark.parametrize("harm", [flip, cut, remove])
    def test_any_object(self, store: Path, source: Path, harm: Callable[[Path], None]):
        """Shards, documents, coordinates, what export needs, the manifest, the root document."""
        good = tree(store)
        assert {
            "zarr.json",
            "source/manifest/c/0",
            "0/mask/c/0/0",
            "0/x/c/0",
            "source/origin/c/0",
        } <= {*good}
        for key in good:
            harm(store / key)
            done = mend(store, source)
            assert done.state == "repaired", (key, done)
            assert tree(store) == good, key
            assert done.resealed == (key == "zarr.json")
            if not done.resealed:
                assert key in done.written
        assert verify(store, source) == []
        assert no_leftovers(store)

    def test_any_bit_of_the_root_document(self, store: Path, source: Path):
        good = tree(store)
        for bit in np.random.default_rng(1).integers(8 * len(good["zarr.json"]), size=12):
            flip(store / "zarr.json", int(bit))
            done = mend(store, source)
            assert (done.state, tree(store)) == ("repaired", good), bit

    def test_not_through_a_link(self, store: Path, source: Path, tmp_path: Path):
        flip(store / SHARD)
        (store / "0").rename(tmp_path / "elsewhere")
        (store / "0").symlink_to(tmp_path / "elsewhere")
        harmed = (store / SHARD).read_bytes()
        found = mend(store, source)
        assert found.state == "failed"
        assert "0 is a link, which may lead anywhere" in str(found.reason)
        assert (store / SHARD).read_bytes() == harmed

    def test_the_index_of_a_shard(self, store: Path, source: Path):
        good = tree(store)
        flip(store / SHARD, 8 * (len(good[SHARD]) - 6))
        assert mend(store, source).written == (SHARD,)
        assert tree(store) == good

    def test_nothing_else_is_written(self, store: Path, source: Path):
        """What is sound may be on storage where every write counts, or is billed."""
        before = {p: p.stat().st_ino for p in store.rglob("*") if p.is_file()}
        damage(store, SHARD, "0/x/c/0")
        done = mend(store, source)
        assert sorted(done.written) == [SHARD, "0/x/c/0"]
        changed = {p for p, inode in before.items() if p.stat().st_ino != inode}
        assert changed == {store / SHARD, store / "0/x/c/0"}

    @pytest.mark.parametrize(
        "keys",
        [
            ("source/manifest/c/0", SHARD, "0/x/c/0"),
            ("zarr.json", "source/manifest/c/0", SHARD, "0/mask/c/0/0"),
            ("zarr.json", "0/zarr.json", SHARD),
            ("zarr.json", "source/origin/c/0", "source/origin/zarr.json"),
            ("source/origin/c/0", "0/image/zarr.json", "source/manifest/zarr.json"),
        ],
    )
    def test_much_at_once(self, store: Path, source: Path, keys: tuple[str, ...]):
        good = tree(store)
        damage(store, *keys)
        assert mend(store, source).state == "repaired"
        assert tree(store) == good

    def test_every_shard_at_once(self, store: Path, source: Path):
        good = tree(store)
        shards = [key for key in good if key.startswith(("0/image/c", "0/mask/c"))]
        for key in shards:
            (store / key).unlink()
        assert sorted(mend(store, source).written) == sorted(shards)
        assert tree(store) == good

    def test_a_shard_of_another_place(self, store: Path, source: Path):
        good = tree(store)
        for keys in [(SHARD,), (SHARD, "source/manifest/c/0"), (SHARD, "zarr.json")]:
            shutil.copy(store / "0/image/c/0/0", store / SHARD)
            damage(store, *keys[1:])
            assert mend(store, source).state == "repaired", keys
            assert tree(store) == good, keys

    def test_a_sound_store_is_not_touched(self, store: Path, tmp_path: Path):
        """Not even its source is opened."""
        (tmp_path / "empty").mkdir()
        done = mend(store, tmp_path / "empty")
        assert (done.state, done.lines()) == ("sound", [f"{store}: sound"])

    def test_by_a_newer_library(self, store: Path, source: Path, monkeypatch: pytest.MonkeyPatch):
        """The versions that a store names are those that sealed it, not those that repair it."""
        from tilepress.pipeline.store import documents as room

        good = tree(store)
        monkeypatch.setattr(room, "_tools", lambda: {"python": "4.0", "tilepress": "9.9"})
        for key in ("0/zarr.json", "source/manifest/c/0", "0/image/zarr.json"):
            damage(store, key)
            assert mend(store, source).state == "repaired"
            assert tree(store) == good

    def test_documents_from_the_roots_copies(
        self, store: Path, source: Path, monkeypatch: pytest.MonkeyPatch
    ):
        """A version that writes other attributes still finds the old ones in the root."""
        from tilepress.pipeline.store import documents as room

        good = tree(store)
        monkeypatch.setattr(room, "_INSTALL", "something else")
        damage(store, "0/image/zarr.json")
        assert mend(store, source).written == ("0/image/zarr.json",)
        assert tree(store) == good


class TestLoss:
    """What a lossy store says of its loss was measured, and is measured again."""

    @pytest.mark.parametrize("key", [SHARD, "zarr.json", "source/manifest/c/0", "0/zarr.json"])
    def test_comes_back_as_it_was(self, lossy: Path, source: Path, key: str):
        good = tree(lossy)
        statement = StoreReader.open(lossy).statement
        assert 0 < statement["max_error_measured"] <= 3
        assert "psnr_db" in statement
        for harm in (flip, remove):
            harm(lossy / key)
            assert mend(lossy, source).state == "repaired"
            assert tree(lossy) == good

    def test_is_measured_anew(self, lossy: Path, source: Path, another_encoder: Callable[[], None]):
        """The other encoder stores samples as they are: less loss on the whole."""
        before = StoreReader.open(lossy).statement
        damage(lossy, SHARD)
        another_encoder()
        assert mend(lossy, source).resealed
        after = StoreReader.open(lossy).statement
        assert after["max_error_measured"] == before["max_error_measured"]
        assert after["psnr_db"] > before["psnr_db"]
        assert verify(lossy, source) == []
        stored = zarr.open_group(lossy, mode="r")["0/image"][...].astype(int)
        given = smooth((70, 90)).astype(int)
        psnr = 10 * np.log10(65535**2 / np.square(stored - given).mean())
        assert after["psnr_db"] == round(float(psnr), 3)


class TestASourceThatWasTouched:
    """Copies have other times: then the samples say that it is the same image."""

    @pytest.fixture(params=[0, 3])
    def pair(
        self, request: pytest.FixtureRequest, made: Made, source: Path, tmp_path: Path
    ) -> Path:
        os.utime(source, (1e9, 1e9))
        return shutil.copytree(made.stores[request.param], tmp_path / "scene.zarr")

    @pytest.mark.parametrize("key", [SHARD, "source/manifest/c/0", "0/x/c/0", "0/zarr.json"])
    def test_is_as_good(self, pair: Path, source: Path, key: str):
        good = tree(pair)
        damage(pair, key)
        assert mend(pair, source).state == "repaired"
        assert tree(pair) == good

    def test_names_the_plan_of_a_new_root(self, pair: Path, source: Path):
        """The lost root named the files as they were; the new one knows them as they are."""
        (pair / "zarr.json").unlink()
        assert mend(pair, source).resealed
        assert verify(pair, source) == []
        max_error = int(StoreReader.open(pair).loss.max_error)  # as it was given
        report = compress(source, pair, workers=0, tile=64, max_error=max_error)
        assert [image.status for image in report.images] == ["unchanged"], list(report.failures)


class TestAnotherSource:
    """Nothing is written from an image that the store was not made of."""

    @pytest.mark.parametrize("key", [SHARD, "zarr.json", "source/manifest/c/0", "0/mask/c/0/0"])
    @pytest.mark.parametrize("max_error", [0, 3])
    def test_of_other_samples(self, tmp_path: Path, key: str, max_error: float):
        source = write_scene(tmp_path / "scene.tif")
        store = tmp_path / "scene.zarr"
        press(source, store, max_error=max_error)
        write_scene(source, seed=1)
        with rasterio.open(source, "r+") as file:
            file.write_mask(np.full((70, 90), 255, np.uint8))
        damage(store, key)
        before = tree(store)
        done = mend(store, source)
        assert done.state == "failed"
        assert "is not what it was made of" in str(done.reason), done
        assert tree(store) == before
        assert no_leftovers(store)

    @pytest.mark.parametrize("key", [SHARD, "zarr.json"])
    def test_of_another_shape(self, store: Path, source: Path, key: str):
        images.tiff(source, smooth((70, 91)))
        damage(store, key)
        before = tree(store)
        assert "it is (70, 91) of uint16" in str(mend(store, source).reason)
        assert tree(store) == before

    def test_of_other_metadata(self, store: Path, source: Path):
        """Its samples are right; a store's CRS must not change in a repair."""
        write_scene(source, epsg=32632)
        damage(store, SHARD, "0/spatial_ref/zarr.json")
        damage(store, *(k for k in tree(store) if k.startswith("source/") and "/c/" in k))
        before = tree(store)
        done = mend(store, source)
        assert "its metadata are not" in str(done.reason)
        assert tree(store) == before

    @pytest.mark.parametrize("key", ["zarr.json", "source/manifest/c/0"])
    def test_of_other_metadata_for_a_new_seal(self, store: Path, source: Path, key: str):
        write_scene(source, epsg=32632)
        os.utime(source, (1e9, 1e9))
        damage(store, key)
        before = tree(store)
        assert "its metadata are not" in str(mend(store, source).reason)
        assert tree(store) == before
        assert no_leftovers(store)

    def test_that_cannot_be_read(self, store: Path, source: Path, tmp_path: Path):
        damage(store, SHARD)
        before = tree(store)
        source.write_bytes(source.read_bytes()[:3000])
        done = mend(store, source)
        assert done.state == "failed"
        with pytest.raises(UsageError, match="no such file"):
            mend(store, tmp_path / "none.tif")
        (tmp_path / "empty").mkdir()
        with pytest.raises(UsageError, match="got 0 images of kind geotiff"):
            mend(store, tmp_path / "empty")
        assert tree(store) == before

    def test_beside_the_right_one(self, store: Path, source: Path, tmp_path: Path):
        """With its origin gone, a store is told by its name and shape."""
        write_scene(tmp_path / "in" / "a.tif", seed=2)
        shutil.copy2(source, tmp_path / "in" / "scene.tif")
        good = tree(store)
        damage(store, "source/origin/c/0", SHARD)
        assert mend(store, tmp_path / "in").state == "repaired"
        assert tree(store) == good
        (tmp_path / "in" / "scene.tif").rename(tmp_path / "in" / "b.tif")
        damage(store, "source/origin/c/0")
        with pytest.raises(UsageError, match="2 images fit its shape"):
            mend(store, tmp_path / "in")


class TestAnotherEncoder:
    """Other bytes for the same samples: the store is sealed anew, sound shards stay."""

    def test_seals_anew(self, store: Path, source: Path, another_encoder: Callable[[], None]):
        good = tree(store)
        damage(store, SHARD)
        another_encoder()
        done = mend(store, source)
        assert (done.state, done.resealed, done.written) == ("repaired", True, (SHARD,))
        assert verify(store, source) == []
        now = tree(store)
        same = [key for key in good if "/c/" in key and "manifest" not in key and key != SHARD]
        assert all(now[key] == good[key] for key in same)
        assert now[SHARD] != good[SHARD]
        assert no_leftovers(store)
        assert compress(source, store, workers=0, tile=64).images[0].status == "unchanged"

    def test_drops_the_signature_of_another_seal(
        self, store: Path, source: Path, another_encoder: Callable[[], None]
    ):
        """Who signed the store before has not signed this one; a signature that holds stays."""
        Signer(Ed25519PrivateKey.generate()).sign(store, read_root(store).seal)
        damage(store, SHARD)
        assert not mend(store, source).resealed
        assert (store / SIGNATURE).exists()
        damage(store, SHARD)
        another_encoder()
        assert mend(store, source).resealed
        assert not (store / SIGNATURE).exists()
        assert verify(store, source) == []

    def test_keeps_a_signature_where_the_seal_comes_out_the_same(self, store: Path, source: Path):
        Signer(Ed25519PrivateKey.generate()).sign(store, read_root(store).seal)
        damage(store, "zarr.json")
        assert mend(store, source).resealed
        assert (store / SIGNATURE).exists()
        assert not is_outdated(store)

    def test_keeps_what_comes_out_the_same(
        self, store: Path, source: Path, monkeypatch: pytest.MonkeyPatch
    ):
        """Only the documents differ: no shard is coded."""
        from tilepress.pipeline.store import documents as room

        monkeypatch.setattr(room, "_INSTALL", "something else")
        damage(store, "0/zarr.json", "0/x/zarr.json")
        monkeypatch.setattr(coding, "encode_shard", None)
        done = mend(store, source)
        assert (done.state, done.resealed) == ("repaired", True)
        assert verify(store, source) == []

    def test_of_a_touched_source(
        self, store: Path, source: Path, another_encoder: Callable[[], None]
    ):
        damage(store, SHARD)
        os.utime(source, (1e9, 1e9))
        another_encoder()
        assert mend(store, source).resealed
        assert verify(store, source) == []


class TestFailureAtAnyPoint:
    """Every write may be the last: the store is as damaged as before, begun, or whole."""

    CASES = (
        ((SHARD, "0/x/c/0"), "same", "repair"),
        pytest.param((SHARD, "0/x/c/0"), "other", "repair", marks=pytest.mark.long),
        pytest.param((SHARD, "0/x/c/0"), "other", "compress", marks=pytest.mark.slow),
        ((SHARD, "source/manifest/c/0"), "same", "repair"),
        pytest.param((SHARD, "source/manifest/c/0"), "other", "compress", marks=pytest.mark.long),
        pytest.param(("zarr.json", SHARD), "same", "compress", marks=pytest.mark.long),
        pytest.param(("zarr.json", SHARD), "other", "repair", marks=pytest.mark.slow),
        pytest.param(
            ("zarr.json", "0/zarr.json", "0/mask/c/0/0"), "same", "repair", marks=pytest.mark.slow
        ),
    )
    """What is damaged, whether the encoder is the one that wrote it, and what is run again."""

    @pytest.fixture
    def fail_at(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], bool]:
        """Return what lets the n-th change of storage fail, and every later one.

        So nothing is tidied up either: storage is left as by a process that is killed there.
        """
        left: list[int | None] = [None]

        def counted(name: str) -> None:
            method = getattr(FolderPath, name)

            def change(*arguments: object) -> object:
                if left[0] is not None:
                    left[0] -= 1
                    if left[0] < 0:
                        raise OSError(28, "No space left on device")
                return method(*arguments)

            monkeypatch.setattr(FolderPath, name, change)

        for name in ("write", "create", "swap", "remove", "remove_tree", "remove_empty", "sweep"):
            counted(name)

        def fail(n: int | None) -> bool:
            """Set when to fail; return whether anything failed since the last call."""
            before, left[0] = left[0], n
            return before is not None and before < 0

        return fail

    @pytest.mark.parametrize(("keys", "encoder", "again"), CASES)
    def test_leaves_what_can_go_on(
        self,
        store: Path,
        source: Path,
        fail_at: Callable[[int | None], bool],
        another_encoder: Callable[[], None],
        keys: tuple[str, ...],
        encoder: str,
        again: str,
    ):
        good = tree(store)
        damage(store, *keys)
        hurt = tree(store)
        if encoder == "other":
            another_encoder()
        states = []
        for n in range(1000):
            restore(store, hurt)
            shutil.rmtree(store.parent / ".tilepress", ignore_errors=True)
            fail_at(n)
            (done,) = repair_stores(store, [source])
            failed = fail_at(None)
            if not failed:
                break
            (ledger_folder(store) / "lease.json").remove()  # as if its process had ended
            states.append(self.check(store, good, hurt))
            if again == "compress" and states[-1] == "begun":
                press(source, store)
            else:
                assert mend(store, source).ok, n
            assert verify(store, source) == [], n
            assert tree(store.parent / ".tilepress") == {}, n
        assert done.ok
        assert verify(store, source) == []
        assert no_leftovers(store)
        assert "as damaged" in states
        if encoder == "other" or "zarr.json" in keys:
            assert "begun" in states

    @staticmethod
    def check(store: Path, good: Tree, hurt: Tree) -> str:
        """Tell which of the states that are allowed a store is in."""
        if not is_sealed(store):
            assert ledger_folder(store).is_folder()
            return "begun"
        now = tree(store)
        if now == hurt:
            return "as damaged"
        if now["zarr.json"] == hurt["zarr.json"]:
            assert all(now[key] in (hurt[key], good[key]) for key in now), "damaged, or as sealed"
            return "partly"
        assert verify(store) == []
        return "whole"


class TestWhatRepairIsNotFor:
    def test_a_store_that_was_never_sealed(self, store: Path, source: Path):
        shutil.rmtree(store)
        (store / "0/image/c/0").mkdir(parents=True)
        (store / "0/image/c/0/0").write_bytes(b"data")
        before = tree(store)
        done = mend(store, source)
        assert "run its compress line again" in str(done.reason)
        assert tree(store) == before

    def test_a_store_that_is_being_written(self, store: Path, source: Path):
        (store / "zarr.json").unlink()
        (ledger_folder(store) / ("0" * 64) / "begun").write(b"")
        before = tree(store)
        assert "run its compress line again" in str(mend(store, source).reason)
        assert tree(store) == before

    def test_a_store_that_another_process_writes(self, store: Path, source: Path):
        from tilepress.pipeline.archive.lease import Lease

        damage(store, SHARD)
        before = tree(store)
        lease = Lease.acquire(ledger_folder(store))
        assert "is writing there" in str(mend(store, source).reason)
        lease.release()
        assert tree(store) == before

    def test_too_little_left(self, store: Path, source: Path):
        before = tree(store)
        for key in before:
            if key.endswith("zarr.json"):
                (store / key).write_bytes(b"{}")
        before = tree(store)
        assert "compress it again with --force" in str(mend(store, source).reason)
        assert tree(store) == before

    def test_no_store(self, tmp_path: Path, source: Path):
        with pytest.raises(UsageError, match="no such file or folder"):
            mend(tmp_path / "none.zarr", source)
        with pytest.raises(UsageError, match="it is a file"):
            mend(source, source)
        (tmp_path / "empty").mkdir()
        with pytest.raises(UsageError, match="without tilepress stores"):
            mend(tmp_path / "empty", source)

    def test_what_the_store_does_not_list(self, store: Path, source: Path):
        """Whose it is nobody knows; what our own killed writers left is removed."""
        (store / "0/notes.txt").write_bytes(b"mine")
        (store / "0/.x.0a.partial").write_bytes(b"ours")
        done = mend(store, source)
        assert (done.state, done.left) == ("sound", ("0/notes.txt",))
        assert "does not list it" in done.lines()[1]
        assert (store / "0/notes.txt").exists()
        assert not (store / "0/.x.0a.partial").exists()
        damage(store, "zarr.json")
        assert mend(store, source).left == ("0/notes.txt",)


class TestKindsOfSources:
    """Whatever can be compressed can be repaired."""

    def check(self, store: Path, source: Path, stack: str | None = None) -> None:
        good = tree(store)
        shard = next(key for key in good if key.startswith("0/image/c/"))
        for key in (
            shard,
            "zarr.json",
            "source/manifest/c/0",
            "0/image/zarr.json",
            "source/origin/c/0",
        ):
            damage(store, key)
            done = mend(store, source, stack)
            assert (done.state, tree(store) == good) == ("repaired", True), (key, done)

    @pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
    def test_array(self, tmp_path: Path, dtype: str):
        np.save(tmp_path / "a.npy", smooth((3, 70, 90)).astype(dtype))
        press(tmp_path / "a.npy", tmp_path / "a.zarr")
        self.check(tmp_path / "a.zarr", tmp_path / "a.npy")

    def test_stack(self, tmp_path: Path):
        for band in (1, 2, 10):
            images.tiff(tmp_path / "in" / f"s_B{band}.tif", smooth((70, 90), band))
        press(tmp_path / "in", tmp_path / "s.zarr", stack="*_B*.tif")
        self.check(tmp_path / "s.zarr", tmp_path / "in", stack="*_B*.tif")
        damage(tmp_path / "s.zarr", "0/x/c/0")
        assert mend(tmp_path / "s.zarr", tmp_path / "in").ok, "its origin names its files"

    def test_series(self, tmp_path: Path):
        for number in range(4):
            images.dicom(tmp_path / "ct" / f"{number}.dcm", 1, number)
        press(tmp_path / "ct", tmp_path / "ct.zarr")
        self.check(tmp_path / "ct.zarr", tmp_path / "ct")

    def test_weights_of_its_own(self, source: Path, tmp_path: Path):
        """Tuned weights travel in the documents; the source needs no model file."""
        model = tmp_path / "mine.safetensors"
        model.write_bytes(load_named("auto").data)
        press(source, tmp_path / "scene.zarr", model=str(model))
        model.unlink()
        config = json.loads(StoreReader.open(tmp_path / "scene.zarr").codec("image").configuration)
        assert config["model"]["weights"] is not None
        self.check(tmp_path / "scene.zarr", source)


class TestArchives:
    @pytest.fixture
    def sources(self, tmp_path: Path) -> Path:
        folder = tmp_path / "in"
        for n in range(3):
            write_scene(folder / f"deep{n}" / "scene.tif", seed=n)
        return folder

    def test_only_damaged_stores_are_written(self, sources: Path, tmp_path: Path):
        out = tmp_path / "out"
        press(sources, out)
        good = stores(out)
        damage(out, f"deep0/scene.zarr/{SHARD}", "deep2/scene.zarr/zarr.json")
        done = list(repair_stores(out, [sources]))
        assert [one.state for one in done] == ["repaired", "sound", "repaired"]
        assert stores(out) == good

    def test_one_failure_does_not_stop_the_others(self, sources: Path, tmp_path: Path):
        out = tmp_path / "out"
        press(sources, out)
        good = tree(out)
        damage(out, *(f"deep{n}/scene.zarr/{SHARD}" for n in range(3)))
        hurt = tree(out)
        (sources / "deep1" / "scene.tif").unlink()
        done = list(repair_stores(out, [sources]))
        assert [one.state for one in done] == ["repaired", "failed", "repaired"]
        key = f"deep1/scene.zarr/{SHARD}"
        assert tree(out) == {**good, key: hurt[key]}
        assert done[1].lines()[0].endswith("deep1/scene.zarr: failed")
        assert json.loads(json.dumps(done[1].to_json()))["state"] == "failed"


class TestInABucket:
    def test_as_on_a_disk(self, bucket: str, source: Path):
        press(source, f"{bucket}/out/scene.zarr")
        store = storage_path(f"{bucket}/out/scene.zarr")
        good = {key: (store / key).read() for key, _ in store.walk()}
        for keys in [
            (SHARD,),
            ("zarr.json",),
            ("source/manifest/c/0", "0/x/zarr.json", "0/mask/c/0/1"),
        ]:
            for key in keys:
                (store / key).write(good[key][:-3] + b"\0\0\0")
            assert mend(f"{bucket}/out/scene.zarr", source).state == "repaired"
            assert {key: (store / key).read() for key, _ in store.walk()} == good
        (store / SHARD).remove()
        assert [one.state for one in repair_stores(f"{bucket}/out", [source])] == ["repaired"]
        assert verify(store, source) == []
        assert not any(".tilepress" in key for key, _ in storage_path(f"{bucket}/out").walk())


class TestTheCommand:
    def test_says_what_it_did(self, store: Path, source: Path, command: Callable[..., object]):
        damage(store, SHARD)
        done = command("repair", store, "--source", source)
        assert (done.returncode, done.stderr) == (0, "")  # type: ignore[attr-defined]
        assert done.stdout.splitlines() == [  # type: ignore[attr-defined]
            f"{store}: repaired",
            f"{store}: {SHARD}: written again",
        ]

    def test_says_that_it_seals_what_another_version_wrote(
        self,
        source: Path,
        tmp_path: Path,
        another_encoder: Callable[[], None],
        command: Callable[..., object],
    ):
        """The process of the command has the true encoder, whose bytes are not those sealed."""
        store, lost, hurt = tmp_path / "scene.zarr", SHARD, "0/image/c/1/0"
        another_encoder()
        press(source, store)
        before = tree(store)
        remove(store / lost)
        damage(store, hurt)
        done = command("repair", store, "--source", source)
        assert (done.returncode, done.stderr) == (0, "")  # type: ignore[attr-defined]
        assert done.stdout.splitlines() == [  # type: ignore[attr-defined]
            f"{store}: repaired",
            f"{store}: {lost}: written again",
            f"{store}: {hurt}: written again",
            f"{store}: sealed anew",
        ]
        assert verify(store, source) == []
        shards = {key for key in before if "image/c/" in key or "mask/c/" in key}
        now = tree(store)
        assert {key for key in shards if now[key] != before[key]} == {lost, hurt}
        assert no_leftovers(store)
