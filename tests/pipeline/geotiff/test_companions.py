"""What lies beside a raster is the same in a folder and in a bucket."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tilepress.errors import UnsupportedSource
from tilepress.pipeline.find.discover import discover
from tilepress.pipeline.geotiff import beside
from tilepress.pipeline.geotiff.beside import Role, files_beside
from tilepress.pipeline.geotiff.companions import companions
from tilepress.pipeline.image.source import SourceSpec, TileSource
from tilepress.pipeline.sources.open import open_source
from tilepress.pipeline.storage.ranges import RemoteFile

from ..images import upload
from .test_source import noise, write

BESIDE = (
    *("a_B1.tif.msk", "a_B1.tif.aux.xml", "a_B1.aux", "a_B1.tfw", "a_B1.TFW", "a_B1.tifw"),
    *("a_B1.tab", "a_b1.wld", "A_B1.TIF.AUX.XML", "a_MTL.txt", "A_MTL.TXT", "a_RPC.txt"),
    *("a_B1.rpc", "a_B1.imd", "a.pvl", "a_B1.eph", "a.dim", "a_B1-notes.xml", "a_metadata.xml"),
    *("a_B1.att", "metadata.dim", "summary.txt"),
)
APART = ("a_B1.tif", "a_B10.tif.msk", "a_B10.tfw", "a_B1x.txt", "a_B10.xml", "b.txt", "a_B1.csv")


def test_the_names_are_those_of_folders(tmp_path: Path) -> None:
    raster = write(tmp_path / "a_B1.tif", noise((4, 4), "uint8"))
    for name in (*BESIDE, *APART[1:]):
        (tmp_path / name).write_bytes(b"II*\0" if name.endswith(".msk") else b"EHFA_HEADER_TAG")
    here = [RemoteFile(f"s3://b/in/{name}", 5, '"v"') for name in (*BESIDE, *APART)]
    elsewhere = [RemoteFile(f"s3://b/in/other/{name}", 5, '"v"') for name in BESIDE]
    of_bucket = companions(here[len(BESIDE)], [*here, *elsewhere])
    assert [one.url for one in of_bucket] == [f"s3://b/in/{name}" for name in BESIDE]
    with files_beside(raster) as found:
        assert {one.name for one in found.companions} == set(BESIDE)


def test_overviews_stay_in_the_bucket() -> None:
    assert beside.role_of("a.tif", "a.tif.ovr") is Role.OVERVIEWS
    assert not list(
        companions(RemoteFile("s3://b/a.tif", 5, '"v"'), [RemoteFile("s3://b/a.tif.ovr", 5, '"v"')])
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of one image, in which a text of 2000 bytes is too large."""
    monkeypatch.setattr(beside, "MAX_TEXT_BYTES", 1999)
    monkeypatch.setenv("TILEPRESS_GUESTS", "off")  # they would have the real limit
    (tmp_path / "in").mkdir()
    write(tmp_path / "in/a.tif", np.ones((8, 8), np.uint8))
    return tmp_path / "in"


def opened(where: str) -> TileSource:
    (spec,) = (one for one in discover([where]) if isinstance(one, SourceSpec))
    return open_source(spec)


class TestWhatIsTooLarge:
    """Sixteen mebibytes were, and nobody was told."""

    @pytest.mark.parametrize("remote", [False, True])
    def test_notes_are_a_remark(self, folder: Path, bucket: str, remote: bool) -> None:
        (folder / "a_MTL.txt").write_bytes(b" " * 2000)
        upload(folder, bucket)
        for where in (bucket, f"{bucket}/a.tif") if remote else (str(folder),):
            source = opened(where)
            (remark,) = source.info.remarks
            assert remark == "a_MTL.txt beside it is not opened: it has more than 1999 bytes"
            source.close()

    @pytest.mark.parametrize("remote", [False, True])
    def test_what_is_needed_fails_the_image(self, folder: Path, bucket: str, remote: bool) -> None:
        (folder / "a.tif.aux.xml").write_bytes(b" " * 2000)
        upload(folder, bucket)
        for where in (bucket, f"{bucket}/a.tif") if remote else (str(folder),):
            with pytest.raises(
                UnsupportedSource, match=r"a\.tif\.aux\.xml beside it .* 1999 bytes"
            ):
                opened(where)


@pytest.mark.parametrize("name", ["a.rpc", "a.dim", "a.tifw", "a.pvl", "a.eph", "a.j2w"])
def test_it_is_no_image_of_its_own(folder: Path, bucket: str, name: str) -> None:
    """Else it were a failure of the run, and not among what is beside."""
    (folder / name).write_text("text")
    upload(folder, bucket)
    for where in (str(folder), bucket):
        (found,) = discover([where])
        assert isinstance(found, SourceSpec)
    if name != "a.j2w":
        assert [one[0] for one in found.options["companions"]] == [name]
