"""A new source format is one new module and one line: found, compressed, compared, given back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tilepress.errors import UsageError
from tilepress.pipeline import formats
from tilepress.pipeline.export import export
from tilepress.pipeline.find.discover import discover
from tilepress.pipeline.find.walk import Failure
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.store.reader import StoreReader
from tilepress.workflows.cli import app as cli

from ..helpers.pgm import PGM
from ..helpers.samples import smooth
from ..pipeline.images import npy, tiff, upload

Command = Callable[..., tuple[int, str]]


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add the one line, in this process; a guest would need it in its own."""
    monkeypatch.setattr(formats, "FORMATS", (*formats.FORMATS, PGM))
    monkeypatch.setenv("TILEPRESS_GUESTS", "off")


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Return a function that runs the command in this process, where the format is known."""
    monkeypatch.setattr(cli, "interrupts", contextlib.nullcontext)

    def run(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(cli.sys, "argv", ["tilepress", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert isinstance(ended.value.code, int)
        return ended.value.code, "".join(capfd.readouterr())

    return run


def pgm(path: Path, samples: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = samples.shape
    header = f"P5\n{width} {height}\n{4095 if samples.itemsize == 2 else 255}\n".encode()
    path.write_bytes(header + samples.astype(samples.dtype.newbyteorder(">")).tobytes())
    return path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    root = tmp_path / "in"
    pgm(root / "a/deep.pgm", smooth((70, 90)))
    pgm(root / "a/flat.pgm", (smooth((40, 30)) % 256).astype(np.uint8))
    tiff(root / "a/scene.tif")
    npy(root / "b/array.npy")
    (root / "b/no.pgm").write_bytes(b"P4 a bitmap, which is another format")
    return root


def test_it_is_found_among_the_others(images: Path) -> None:
    found = list(discover([images]))
    specs = {str(s.options["name"]): s.kind for s in found if isinstance(s, SourceSpec)}
    assert specs == {"array": "array", "deep": "pgm", "flat": "pgm", "scene": "geotiff"}
    (failure,) = [item for item in found if isinstance(item, Failure)]
    assert "Zarr array, PGM)" in str(failure.error)


def test_an_archive_of_it_goes_all_the_way(images: Path, tmp_path: Path, call: Command) -> None:
    archive = tmp_path / "out"
    (images / "b/no.pgm").unlink()
    assert call("compress", images, archive, "--workers", 0)[0] == 0
    again, told = call("compress", images, archive, "--workers", 0)
    assert (again, "4 unchanged" in told) == (0, True)
    assert call("verify", archive, "--source", images)[0] == 0
    for name in ("deep", "flat"):
        store, back = archive / f"a/{name}.zarr", tmp_path / f"{name}.pgm"
        assert StoreReader.open(store).origin["kind"] == "pgm"
        assert export(store, back) == [back]
        assert back.read_bytes() == (images / f"a/{name}.pgm").read_bytes()


def test_another_image_is_not_taken_for_its_source(
    images: Path, tmp_path: Path, call: Command
) -> None:
    store = tmp_path / "deep.zarr"
    assert call("compress", images / "a/deep.pgm", store, "--workers", 0)[0] == 0
    other = pgm(tmp_path / "other/deep.pgm", smooth((70, 90), seed=1))
    assert call("verify", store, "--source", other)[0] == 1
    assert call("verify", store, "--source", images / "a/scene.tif")[0] == 2


def test_damage_is_repaired_from_it(images: Path, tmp_path: Path, call: Command) -> None:
    store = tmp_path / "deep.zarr"
    assert call("compress", images / "a/deep.pgm", store, "--workers", 0)[0] == 0
    (shard,) = [path for path in (store / "0/image/c").rglob("*") if path.is_file()]
    whole = shard.read_bytes()
    shard.unlink()
    assert call("repair", store, "--source", images)[0] == 0
    assert shard.read_bytes() == whole


def test_its_stores_become_what_any_store_can(images: Path, tmp_path: Path, call: Command) -> None:
    store = tmp_path / "deep.zarr"
    assert call("compress", images / "a/deep.pgm", store, "--workers", 0)[0] == 0
    (back,) = export(store, tmp_path / "deep.npy", format="npy")
    assert np.array_equal(np.load(back), smooth((70, 90)))
    with pytest.raises(UsageError, match="it was made of pgm, which gives no geotiff"):
        export(store, tmp_path / "deep.tif", format="geotiff")
    with pytest.raises(UsageError, match=r"got deep\.tif, want NAME\.pgm"):
        export(store, tmp_path / "deep.tif")


def test_it_may_lie_in_a_bucket(images: Path, tmp_path: Path, bucket: str, call: Command) -> None:
    upload(images / "a", f"{bucket}/in")
    assert call("compress", f"{bucket}/in", tmp_path / "out", "--workers", 0)[0] == 0
    assert call("verify", tmp_path / "out", "--source", f"{bucket}/in")[0] == 0
    (back,) = export(tmp_path / "out/flat.zarr", tmp_path / "flat.pgm")
    assert back.read_bytes() == (images / "a/flat.pgm").read_bytes()
