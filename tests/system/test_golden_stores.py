"""Stores that an earlier tilepress wrote: they read, verify, repair and export as they did then."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning

import tilepress
from tilepress.pipeline.archive import add_levels, images
from tilepress.pipeline.archive.digests import plan_digests
from tilepress.pipeline.archive.plan import ImagePlan, make_plan
from tilepress.pipeline.archive.repair import repair_stores
from tilepress.pipeline.image.source import TileSource
from tilepress.pipeline.store import documents
from tilepress.pipeline.store.reader import StoreReader
from tilepress.workflows.run.compress import compress

from ..golden.stores import regenerate
from ..golden.stores.regenerate import BOUNDS, CASES, ROOMY, SEVERAL_SHARDS, SINCE, TIME_NS

Tree = dict[str, bytes]


@dataclass(frozen=True)
class Golden:
    """A golden store, and what it was made of."""

    kind: str
    bound: int
    store: Path
    source: Path
    version: int

    @property
    def options(self) -> dict[str, Any]:
        return dict(regenerate.case(self.kind)[1])

    def tree(self) -> Tree:
        return tree(self.store)


@pytest.fixture(scope="session")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Tree]:
    """Return a function that gives the files of an archive, which is read once."""
    known: dict[str, Tree] = {}

    def read(name: str) -> Tree:
        if name not in known:
            folder = tmp_path_factory.mktemp("golden") / name
            regenerate.unpack(regenerate.FOLDER / f"{name}.tar.xz", folder)
            known[name] = tree(folder)
        return known[name]

    return read


@pytest.fixture(
    params=[f"{kind}-{loss}-1" for kind in CASES for loss in BOUNDS]
    + [f"{kind}-{loss}-{n}" for n, kinds in SINCE.items() for kind in kinds for loss in BOUNDS]
)
def golden(
    request: pytest.FixtureRequest, tmp_path: Path, unpacked: Callable[[str], Tree]
) -> Golden:
    kind, loss, version = request.param.split("-")
    regenerate.unpack_sources(tmp_path / "sources")
    store = tmp_path / f"{kind}.zarr"
    for key, data in unpacked(kind if version == "1" else f"format-{version}").items():
        if key.startswith(f"{loss}/{kind}.zarr/"):
            path = tmp_path / key.removeprefix(f"{loss}/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    source = tmp_path / "sources" / regenerate.case(kind)[0]
    return Golden(kind, BOUNDS[loss], store, source, int(version))


def tree(folder: Path) -> Tree:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def samples_and_more(store: Path) -> Tree:
    """Return the objects of level 0 of a store but for documents, and for a 0 that some have."""
    left_out = ("zarr.json", "spatial_ref/c")
    listed = tree(store).items()
    return {k: v for k, v in listed if k.startswith("0/") and not k.endswith(left_out)}


def samples(kind: str, path: Path) -> np.ndarray:
    """Return the samples of a source, or of an export, as another reader sees them."""
    if kind == "array":
        return np.load(path)
    if kind in ("geotiff", "levels"):
        with rasterio.open(path) as file:
            return file.read(1)
    if kind == "slide":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as file:
                return file.read()
    if kind == "stack":
        bands = [rasterio.open(path / f"s_B{band}.tif") for band in (1, 2, 10)]
        found = np.stack([band.read(1) for band in bands])
        for band in bands:
            band.close()
        return found
    return np.stack([pydicom.dcmread(path / f"{number}.dcm").pixel_array for number in range(3)])


def differ(a: np.ndarray, b: np.ndarray) -> int:
    """Return the largest difference of two images of one shape and dtype."""
    assert (a.shape, a.dtype) == (b.shape, b.dtype)
    return int(np.abs(a.astype(np.int64) - b.astype(np.int64)).max())


class TestAStoreOfAnEarlierTilepress:
    def test_reads(self, golden: Golden):
        found = tilepress.open(golden.store).image.values
        assert differ(found, samples(golden.kind, golden.source)) == golden.bound

    def test_verifies(self, golden: Golden):
        assert tilepress.verify(golden.store) == []
        assert tilepress.verify(golden.store, golden.source) == []

    def test_is_what_the_same_line_writes_again(
        self, golden: Golden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        """Byte for byte, but for the versions of the libraries that it names.

        Documents say less today: as wordy as they were, they are the same.
        """
        statement = json.loads((golden.store / "zarr.json").read_bytes())["attributes"]["tilepress"]
        monkeypatch.setattr(documents, "_tools", lambda: statement["tools"])
        lean = tmp_path / "lean" / golden.store.name
        regenerate.write_store(golden.kind, tmp_path / "sources", lean, golden.bound)
        assert samples_and_more(lean) == samples_and_more(golden.store)
        new, old = StoreReader.open(lean), StoreReader.open(golden.store)
        assert new.source_names() == old.source_names()
        assert new.origin == old.origin
        for name in set(old.source_names()) - {"origin"}:
            assert new.source_bytes(name) == old.source_bytes(name)

        def as_then(source: TileSource, *arguments: Any, **options: Any) -> ImagePlan:
            plan = make_plan(source, *arguments, **options)
            cut = (plan.grid, plan.codec_config, plan.info.exact, plan.level_grids)
            digest = plan_digests(source, *cut)[-1]  # what a plan with levels was called then
            return replace(plan, digest=digest, wordy=golden.version == 1, newest=golden.version)

        monkeypatch.setattr(images, "make_plan", as_then)
        again = tmp_path / "again" / golden.store.name
        with regenerate.roomy() if golden.version in ROOMY else nullcontext():
            regenerate.write_store(golden.kind, tmp_path / "sources", again, golden.bound)
        assert tree(again) == golden.tree()

    def test_is_known_by_the_same_line(self, golden: Golden, monkeypatch: pytest.MonkeyPatch):
        if golden.kind in SEVERAL_SHARDS:
            small = regenerate._shards_of_one_chunk
            monkeypatch.setattr("tilepress.pipeline.archive.plan.choose_grid", small)
        report = compress(
            golden.source, golden.store, workers=0, max_error=golden.bound, checksum=True,
            **golden.options,
        )  # fmt: skip
        assert [image.status for image in report.images] == ["unchanged"], list(report.failures)

    @pytest.mark.parametrize("what", ["each", "root", "manifest"])
    def test_is_repaired(self, golden: Golden, what: str):
        """What was damaged is as it was, to the byte."""
        good = golden.tree()
        keys = {
            "each": [k for k in good if k != "zarr.json" and not k.endswith("manifest/c/0")],
            # of small images one of both must be right, or they must be wrong in what is no matter
            "root": ["zarr.json", *(["0/image/zarr.json"] if golden.version < 5 else [])],
            "manifest": [
                next(k for k in good if k.endswith(("manifest/c/0", "source/c/0"))),
                "0/zarr.json",
            ],
        }[what]
        for key in keys:
            data = bytearray(good[key])
            data[len(data) // 2] ^= 1
            (golden.store / key).write_bytes(data)
        (done,) = repair_stores(golden.store, [golden.source], golden.options.get("stack"))
        assert done.state == "repaired", done
        assert done.resealed == (what == "root")
        assert golden.tree() == good

    def test_gets_the_levels_of_its_source_from_itself(
        self, golden: Golden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(add_levels, "READERS_S", 0)
        other = tmp_path / "other" / golden.store.name
        shutil.copytree(golden.store, other)
        (one,) = add_levels.add_levels(
            golden.store, [golden.source], 1, golden.options.get("stack")
        )
        (alone,) = add_levels.add_levels(other, None, 1)
        if one.state == "unchanged":
            assert alone.state == "unchanged"
        elif golden.bound:
            assert "--source" in str(alone.reason)
        else:
            assert alone.state == "written", alone
            assert tree(other).keys() == golden.tree().keys()
            # items that lay apart are put together in the order of their names
            moved = ("zarr.json", "source/") if golden.version == 1 else "\0"
            same = {k for k, v in golden.tree().items() if tree(other)[k] == v}
            assert all(key in same or key.startswith(moved) for key in golden.tree()), same
            assert tilepress.verify(other, golden.source) == []

    def test_exports(self, golden: Golden, tmp_path: Path):
        target = tmp_path / "export" / golden.source.name
        target.parent.mkdir()
        tilepress.export(golden.store, target)
        source = samples(golden.kind, golden.source)
        assert differ(samples(golden.kind, target), source) == golden.bound
        if golden.kind in ("array", "dicom") and not golden.bound:
            given = tree(golden.source) or golden.source.read_bytes()
            assert (tree(target) or target.read_bytes()) == given
        if golden.kind == "geotiff":
            with rasterio.open(golden.source) as one, rasterio.open(target) as other:
                assert np.array_equal(one.read_masks(1), other.read_masks(1))
                assert (one.crs, one.transform) == (other.crs, other.transform)
                assert other.tags(1)["note"] == "golden"

    def test_was_made_of_files_of_that_time(self, golden: Golden):
        """Else nothing here would show that the digest of a plan is what it was."""
        files = [golden.source] if golden.source.is_file() else [*golden.source.iterdir()]
        assert {path.stat().st_mtime_ns for path in files} == {TIME_NS}
