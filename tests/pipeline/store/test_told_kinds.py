"""A root document that somebody sealed with values of other kinds is damage, with its place."""

from __future__ import annotations

import copy
import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tilepress
from tilepress.errors import DamagedStore, TilepressError
from tilepress.pipeline.archive.add_levels import add_levels
from tilepress.pipeline.archive.repair import repair_stores
from tilepress.pipeline.catalogue.update import why_not_updated
from tilepress.pipeline.store.seal import with_seal
from tilepress.workflows.run.compress import compress

from ...helpers.samples import smooth
from ..images import tiff

ODD = (None, 0, -1, 2**70, 1.5, "x", [], ["x"], {}, {"x": [1]}, True)

Place = tuple[str | int, ...]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a raster, a store of it, and a lossy one of an array."""
    folder = tmp_path_factory.mktemp("made")
    tiff(folder / "a.tif")
    np.save(folder / "b.npy", smooth((3, 40, 40)))
    assert compress(folder / "a.tif", folder / "a.zarr", workers=0, tier="fast").ok
    assert compress(folder / "b.npy", folder / "b.zarr", workers=0, codec="ntc", psnr=40).ok
    return folder


def document(store: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((store / "zarr.json").read_bytes())
    return found


def forge(store: Path, root: dict[str, Any]) -> None:
    """Seal a store with another root document."""
    root["attributes"]["tilepress"]["seal"] = "0" * 64
    data = with_seal(json.dumps(root, separators=(",", ":")).encode())
    (store / "zarr.json").write_bytes(data)


def put(root: dict[str, Any], place: Place, value: object) -> dict[str, Any]:
    """Return a document with another value at a place; without one where it is ``...``."""
    changed = node = copy.deepcopy(root)
    *path, last = place
    for part in path:
        node = node[part]  # type: ignore[index]
    if value is ...:
        del node[last]  # type: ignore[arg-type]
    else:
        node[last] = value  # type: ignore[index]
    return changed


STATEMENT = ("attributes", "tilepress")
IMAGE = ("consolidated_metadata", "metadata", "0/image")
SHARDS = (*IMAGE, "codecs", 0, "configuration")
TILES = (*STATEMENT, "loss_measured", "tiles")


class TestTheKindThatIsWrong:
    @pytest.mark.parametrize(
        ("place", "value", "said"),
        [
            ((*STATEMENT, "loss"), 1.5, "tilepress.loss in zarr.json is another number, want what"),
            ((*STATEMENT, "loss", "max_error"), ..., "tilepress.loss in zarr.json is an object"),
            ((*STATEMENT, "raw_bytes"), ..., "tilepress.raw_bytes in zarr.json is null or missing"),
            ((*STATEMENT, "raw_bytes"), True, "is true or false, want a count"),
            ((*STATEMENT, "model"), "x", "tilepress.model.name in zarr.json is null or missing"),
            ((*STATEMENT, "loss_measured"), ["x"], "loss_measured in zarr.json is a list"),
            ((*STATEMENT, "loss_measured"), {}, "loss_measured.peak in zarr.json is null or mi"),
            ((*STATEMENT, "loss_measured"), {"x": 1}, "loss_measured.peak in zarr.json is null"),
            ((*STATEMENT, "psnr_db"), "x", "psnr_db in zarr.json is a text, want a number"),
            ((*IMAGE, "shape", 0), 2**70, "0/image.shape in zarr.json is a list, want a list of"),
            ((*IMAGE, "shape", 0), True, "0/image.shape in zarr.json is a list, want a list of"),
            ((*IMAGE, "dimension_names"), ["y"], "is a list, want a name for each axis"),
            ((*IMAGE, "dimension_names"), ..., "0/image.dimension_names in zarr.json is null"),
            ((*IMAGE, "chunk_key_encoding", "configuration"), ..., "separator in zarr.json is"),
            ((*IMAGE, "chunk_grid", "configuration", "chunk_shape", 0), 0, "want a list of counts"),
            ((*IMAGE, "attributes", "coordinates"), ["x"], "attributes.coordinates in zarr.json"),
            ((*IMAGE, "attributes", "band_names"), 1.5, "want a name for each band"),
            ((*IMAGE, "attributes", "nodata"), "x", "attributes.nodata in zarr.json is a text"),
            ((*IMAGE, "attributes", "rescale_slope"), {"x": [1]}, "an object, want numbers"),
            ((*IMAGE, "attributes", "tilepress"), "x", "want what coding may have changed"),
            (
                (*SHARDS, "index_codecs", 1),
                ...,
                "0/image.codecs in zarr.json is a list, want those",
            ),
            (
                (*SHARDS, "chunk_shape", 0),
                True,
                "0/image.codecs in zarr.json is a list, want those",
            ),
            ((*IMAGE, "codecs", 0), ..., "0/image.codecs in zarr.json is a list, want those of sh"),
            (("consolidated_metadata",), ..., "want a document for every array"),
        ],
    )
    def test_is_named(self, made: Path, tmp_path: Path, place: Place, value: object, said: str):
        store = shutil.copytree(made / "a.zarr", tmp_path / "a.zarr")
        root = document(store)
        root[IMAGE[0]][IMAGE[1]][IMAGE[2]]["attributes"].setdefault("coordinates", "x")
        forge(store, put(root, place, value))
        for look in (tilepress.info, tilepress.open):
            with pytest.raises(DamagedStore) as caught:
                look(store)
            assert str(caught.value).startswith("opening a.zarr: ")
            assert said in str(caught.value)
        assert [one.key for one in tilepress.verify(store)] == ["zarr.json"]

    @pytest.mark.parametrize(
        "value", [*ODD[:-1], {"1": 1}, {"nan": 1}, {"4_0.0": 1}, {"40.0": None}]
    )
    def test_of_what_tiles_are_like(self, made: Path, tmp_path: Path, value: object):
        store = shutil.copytree(made / "b.zarr", tmp_path / "b.zarr")
        root = document(store)
        for place in (TILES, (*TILES, "count"), (*TILES, "psnr_db")):
            if (place[-1], value) in (("count", 0), ("psnr_db", {})):
                continue
            forge(store, put(root, place, value))
            with pytest.raises(DamagedStore, match=r"\.tiles in zarr\.json is .*, want"):
                tilepress.info(store)

    def test_is_no_value_of_a_sound_store(self, made: Path):
        assert [tilepress.verify(made / name) for name in ("a.zarr", "b.zarr")] == [[], []]

    def test_is_also_what_is_no_json(self, made: Path, tmp_path: Path):
        store = shutil.copytree(made / "a.zarr", tmp_path / "a.zarr")
        blank = f'"seal":"{"0" * 64}"'.encode()
        for data in (blank, b"[" * 100_000 + blank):
            (store / "zarr.json").write_bytes(with_seal(data))
            with pytest.raises(DamagedStore, match="was sealed, and is no JSON"):
                tilepress.open(store)


def places(node: object, at: Place = ()) -> Iterator[Place]:
    """Yield where there is a value, of a list the first ones."""
    if at:
        yield at
    children: Any = node.items() if isinstance(node, dict) else ()
    for key, value in list(enumerate(node))[:3] if isinstance(node, list) else children:
        yield from places(value, (*at, key))


def looks(store: Path, source: Path, out: Path) -> Iterator[str]:
    """Do all that can be done with a store; yield what is said of it that is no error."""
    tilepress.ls(store.parent)
    for look in (
        lambda: repr(tilepress.info(store)),
        lambda: tilepress.open(store, hu=True, masked=True)["image"].values,
        lambda: tilepress.open(store)["image"].values,
        lambda: tilepress.verify(store, source),
        lambda: tilepress.export(store, out / "x.npy"),
        lambda: tilepress.export(store, out / "back/"),
    ):
        try:
            look()
        except TilepressError as error:
            yield str(error)
    yield why_not_updated(store.parent) or ""
    for done in (*add_levels(store, None, 1), *repair_stores(store, [source])):
        yield done.reason or ""


@pytest.mark.parametrize("name", ["a", "b"])
def test_whatever_is_forged_is_one_line(
    made: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
):
    """Some values of all that a document has; others with another seed."""
    monkeypatch.setattr("tilepress.pipeline.archive.add_levels.READERS_S", 0.0)
    source = made / ("a.tif" if name == "a" else "b.npy")
    root, random_ = document(made / f"{name}.zarr"), random.Random(1)
    every = [one for one in places(root) if one != ("attributes", "tilepress", "seal")]
    for number in range(12):
        place, value = random_.choice(every), random_.choice((*ODD, ...))
        if place in (("attributes",), STATEMENT):
            continue
        folder = tmp_path / str(number)
        store = shutil.copytree(made / f"{name}.zarr", folder / "archive" / f"{name}.zarr")
        forge(store, put(root, place, value))
        for said in looks(store, source, folder):
            assert "unexpected" not in said, (place, value, said)
            assert "\n" not in said, (place, value)
