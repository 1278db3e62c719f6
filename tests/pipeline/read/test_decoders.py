"""Stores that are read by another decoder than the base."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pydicom
import pytest
import rasterio

import tilepress
from tilepress.codecs.ntc.decoders.weights import DecoderWeights, shapes_of
from tilepress.codecs.ntc.layout import NETS
from tilepress.codecs.zarr_codec import ChosenDecoder, TilepressTileV3, read_by
from tilepress.errors import UnsupportedFormat, UsageError
from tilepress.pipeline.export import export
from tilepress.pipeline.export_archive import export_archive
from tilepress.pipeline.export_staging import Wanted
from tilepress.pipeline.store.keys import ROOT_DOCUMENT
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.verify import verify

from ...helpers.samples import smooth
from ..dicom.conftest import build, save


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an archive: a lossy raster, a lossy slice, and a lossless array."""
    folder = tmp_path_factory.mktemp("in")
    made = np.random.default_rng(0)
    noisy = smooth((200, 180)).astype(np.int64) + made.integers(0, 200, (200, 180))
    with rasterio.open(
        folder / "scene.tif", "w", driver="GTiff", width=180, height=200, count=1, dtype="uint16",
        crs="EPSG:32631", transform=rasterio.Affine(10, 0, 5e5, 0, -10, 4e6),
    ) as file:  # fmt: skip
        file.write(noisy.astype(np.uint16), 1)
    save(build(noisy[:128, :128].astype(np.int16)), folder / "slice.dcm")
    out = tmp_path_factory.mktemp("out")
    tilepress.compress([folder], out, workers=0, codec="ntc", psnr=34, tile=64)
    plain = tmp_path_factory.mktemp("plain")
    np.save(plain / "plain.npy", noisy.astype(np.uint16))
    tilepress.compress([plain], out, workers=0, tier="fast")
    return out


def made_up() -> DecoderWeights:
    """Return an adversarial network that adds nothing."""
    shapes = shapes_of(8, 1, 2)
    net = {key: np.zeros(shape, np.float16) for key, shape in shapes.items()}
    return DecoderWeights("gan", 8, 1, 2, dict.fromkeys(NETS, net))


def scene(archive: Path) -> Path:
    return archive / "scene.zarr"


def slice_of(archive: Path) -> Path:
    (found,) = archive.glob("CT-*.zarr")
    return found


class TestReading:
    def test_whole_and_in_part(self, archive: Path) -> None:
        base = tilepress.open(scene(archive))
        seen = tilepress.open(scene(archive), decoder="view")
        whole = seen.image.values
        assert not np.array_equal(whole, base.image.values)
        part = tilepress.open(scene(archive), decoder="view").image[..., 30:150, 20:100]
        assert np.array_equal(part.values, whole[..., 30:150, 20:100])
        assert "made up" in seen.attrs["tilepress_decoder"]
        assert "tilepress_decoder" not in base.attrs
        assert seen.attrs["tilepress"] == base.attrs["tilepress"]

    @pytest.mark.parametrize("name", ["scene.zarr", "plain.zarr"])
    def test_none_is_the_base(self, archive: Path, name: str, tmp_path: Path) -> None:
        """Programs hand on what their user did not say."""
        found = tilepress.open(archive / name, decoder=None)
        assert found.image.equals(tilepress.open(archive / name, decoder="base").image)
        assert "tilepress_decoder" not in found.attrs
        (file,) = tilepress.export(archive / name, tmp_path / "out.npy", decoder=None)
        assert np.array_equal(np.load(file), found.image.values)

    def test_the_base_is_what_plain_readers_get(self, archive: Path) -> None:
        import xarray as xr

        tilepress.open(scene(archive), decoder="view").image.values  # fills caches
        plain = xr.open_zarr(scene(archive), group="0").image.values
        assert np.array_equal(plain, tilepress.open(scene(archive), decoder="base").image.values)
        assert verify(scene(archive)) == []

    def test_it_pickles_to_other_processes(self, archive: Path) -> None:
        seen = tilepress.open(scene(archive), decoder="view", chunks={}).image
        again = pickle.loads(pickle.dumps(seen))
        assert np.array_equal(again.values, seen.values)

    def test_stores_name_no_decoder(self, archive: Path) -> None:
        document = (scene(archive) / ROOT_DOCUMENT).read_bytes()
        assert b"chosen" not in document
        assert b"chosen" in read_by(document, "view")
        assert b"chosen" not in read_by((archive / "plain.zarr/zarr.json").read_bytes(), "view")

    def test_its_codec_says_what_it_is(self, archive: Path) -> None:
        codec = StoreReader.open(scene(archive), decoder="view").codec("image")
        assert isinstance(codec, ChosenDecoder)
        assert ChosenDecoder.from_dict(codec.to_dict()) == codec
        assert codec != TilepressTileV3(codec.codec.to_config())

    def test_at_a_scale_there_is_the_base_alone(self, archive: Path) -> None:
        with pytest.raises(UsageError, match="got scale 2 with decoder 'view'"):
            tilepress.open(scene(archive), decoder="view", scale=2)

    def test_an_archive_exported_by_another_is_written_anew(
        self, archive: Path, tmp_path: Path
    ) -> None:
        for decoder, state in (("base", "written"), ("base", "there"), ("view", "failed")):
            done = {
                one.name: one for one in export_archive(archive, tmp_path, Wanted(decoder=decoder))
            }
            assert done["scene.zarr"].state == state
        assert "exists" in str(done["scene.zarr"].problem)
        assert done["plain.zarr"].state == "there", "its codec has the base alone"

    def test_a_codec_that_has_none(self, archive: Path) -> None:
        with pytest.raises(UsageError, match="no decoder 'view', only 'base'"):
            tilepress.open(archive / "plain.zarr", decoder="view")

    def test_one_that_nobody_knows(self, archive: Path) -> None:
        with pytest.raises(UnsupportedFormat, match="choosing a decoder"):
            tilepress.open(scene(archive), decoder="gun")


class TestNetworks:
    def test_the_bundled_one_is_taken_for_medical_images(
        self, archive: Path, tmp_path: Path
    ) -> None:
        pytest.importorskip("torch")
        store = slice_of(archive)
        base, seen = (tilepress.open(store, decoder=d).image.values for d in ("base", "net"))
        assert not np.array_equal(base, seen)
        assert np.abs(base.astype(int) - seen).mean() < 20
        (path,) = export(store, tmp_path / "net.dcm", decoder="net")
        told = pydicom.dcmread(path).DerivationDescription
        assert "decoder net: what is said of the loss holds for the decoder base" in told

    def test_a_file_is_called_by_its_name_alone(self, archive: Path, tmp_path: Path) -> None:
        pytest.importorskip("torch")
        path = tmp_path / "mine.safetensors"
        path.write_bytes(made_up().to_bytes())
        told = tilepress.open(scene(archive), decoder=str(path)).attrs["tilepress_decoder"]
        assert told.startswith("decoder mine: texture in it is made up")


class TestMedicalImages:
    def test_made_up_detail_is_refused(self, archive: Path, tmp_path: Path) -> None:
        pytest.importorskip("torch")
        gan = tmp_path / "gan.safetensors"
        gan.write_bytes(made_up().to_bytes())
        for decoder in ("view", "gan", str(gan)):
            with pytest.raises(UsageError, match="makes up detail"):
                tilepress.open(slice_of(archive), decoder=decoder)
            with pytest.raises(UsageError, match="makes up detail"):
                export(slice_of(archive), tmp_path / "out", decoder=decoder)
            with pytest.raises(UsageError, match="makes up detail"):
                export(slice_of(archive), tmp_path / "out.npy", "npy", decoder=decoder)
        assert list(tmp_path.iterdir()) == [gan]

    def test_unless_it_is_forced_and_then_it_is_told(self, archive: Path, tmp_path: Path) -> None:
        store = slice_of(archive)
        seen = tilepress.open(store, decoder="view", force_generative=True).image.values
        for name, decoder in (("seen", "view"), ("base", "base")):
            export(store, tmp_path / name, decoder=decoder, force_generative=True)
        one, base = (
            pydicom.dcmread(next((tmp_path / name).iterdir())) for name in ("seen", "base")
        )
        assert np.array_equal(one.pixel_array, seen.reshape(one.pixel_array.shape))
        assert "made up" in one.DerivationDescription
        assert "made up" not in base.DerivationDescription
        assert one.SOPInstanceUID != base.SOPInstanceUID


class TestExports:
    def test_a_raster_says_it(self, archive: Path, tmp_path: Path) -> None:
        seen = tilepress.open(scene(archive), decoder="view").image.values
        for form in ("geotiff", "cog"):
            (path,) = export(scene(archive), tmp_path / f"{form}.tif", form, decoder="view")
            with rasterio.open(path) as file:
                assert "made up" in file.tags()["TILEPRESS_DECODER"]
                assert "PSNR" in file.tags()["TILEPRESS_LOSS"]
                assert np.array_equal(file.read(), seen.reshape(file.read().shape))
        (path,) = export(scene(archive), tmp_path / "base.tif")
        with rasterio.open(path) as file:
            assert "TILEPRESS_DECODER" not in file.tags()

    def test_a_zarr_store_says_it(self, archive: Path, tmp_path: Path) -> None:
        import zarr

        export(scene(archive), tmp_path / "seen.zarr", "zarr", decoder="view")
        root = zarr.open_group(tmp_path / "seen.zarr", mode="r")
        assert "made up" in root.attrs["tilepress"]["decoder"]  # type: ignore[index]
        seen = tilepress.open(scene(archive), decoder="view").image.values
        assert np.array_equal(root["0/image"][...], seen)

    def test_what_cannot_say_it_is_refused(self, archive: Path, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="no place to say"):
            export(scene(archive), tmp_path / "seen.npy", "npy", decoder="view")

    def test_of_an_archive_where_there_is_one(self, archive: Path, tmp_path: Path) -> None:
        done = {one.name: one for one in export_archive(archive, tmp_path, Wanted(decoder="view"))}
        assert done["scene.zarr"].problem is None
        assert done["plain.zarr"].problem is None
        assert "makes up detail" in str(done[slice_of(archive).name].problem)
        with rasterio.open(done["scene.zarr"].files[0]) as file:
            assert "TILEPRESS_DECODER" in file.tags()
