"""Tuning: weights follow the images where that pays, never cost more, and outlive a kill."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import zarr

pytest.importorskip("torch")

from tilepress.codecs.wave.codec import WaveCoder, load_model
from tilepress.codecs.wave.model import WaveModel
from tilepress.errors import UsageError
from tilepress.pipeline.archive import weights
from tilepress.pipeline.archive.outcome import ImageResult
from tilepress.pipeline.image import made_levels
from tilepress.pipeline.store import lean
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.store.seal import store_bytes
from tilepress.workflows.learn import tune as room
from tilepress.workflows.report.progress import describe
from tilepress.workflows.report.report import Report
from tilepress.workflows.report.telling import Event, Note, ShardStored, SilentProgress
from tilepress.workflows.run.compress import compress

from ...helpers.samples import smooth

SECONDS = 0.25


def run(*arguments: object, **options: object) -> Report:
    *sources, destination = arguments
    return compress(sources, destination, **{"workers": 0, **options})  # type: ignore[arg-type]


def model_name(store: Path) -> str:
    return str(StoreReader.open(store).statement["model"]["name"])


def weights_sha256(store: Path) -> str:
    return str(StoreReader.open(store).statement["model"]["sha256"])


class Notes(SilentProgress):
    """Keeps what is told, and presses Ctrl-C after some shards where asked to."""

    def __init__(self, interrupt_after: int = -1) -> None:
        self.texts: list[str] = []
        self.left = interrupt_after

    def tell(self, event: Event) -> None:
        if isinstance(event, Note):
            self.texts.append(event.text)
        elif isinstance(event, ShardStored):
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt


@pytest.fixture(scope="module")
def misfit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model without a network whose tables know nothing: every token is as likely.

    They travel inline and are larger than any that were learned, so that tuning always pays;
    without a network it takes no time and gives the same each time.
    """
    fast = load_model("wave-2-fast")
    tables = np.full_like(fast.frequencies, (1 << 15) // fast.frequencies.shape[1])
    tables[:, 0] += (1 << 15) - tables.sum(axis=1, dtype=np.int64).astype(np.uint16)
    model = WaveModel(fast.layers, tables, fast.linear)
    path = tmp_path_factory.mktemp("model") / "misfit.safetensors"
    path.write_bytes(model.to_bytes())
    return path


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    path = tmp_path / "scene.npy"
    np.save(path, smooth((300, 400)))
    return path


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make plans of many tiny shards."""
    from tilepress.pipeline.archive import plan
    from tilepress.pipeline.image import grid as geometry

    def tiny(shape: tuple[int, ...], itemsize: int, *, tile: int) -> geometry.ShardGrid:
        return geometry.choose_grid(shape, itemsize, tile=tile, max_shard_bytes=128 * 128 * 2)

    monkeypatch.setattr(plan, "choose_grid", tiny)


class TestNeverLarger:
    """Weights that travel in a store count: an image that they do not pay for is spared them."""

    def test_small_images_keep_the_bundled_weights(self, scene: Path, tmp_path: Path):
        run(scene, tmp_path / "plain.zarr")
        report = run(scene, tmp_path / "tuned.zarr", tune=SECONDS)
        assert report.images[0].tuned is False
        assert store_bytes(tmp_path / "tuned.zarr") <= store_bytes(tmp_path / "plain.zarr")

    @pytest.mark.parametrize("max_error", [0, 2])
    def test_where_they_pay_the_store_is_smaller(
        self, scene: Path, misfit: Path, tmp_path: Path, max_error: int
    ):
        options = {"model": str(misfit), "max_error": max_error}
        run(scene, tmp_path / "plain.zarr", **options)
        report = run(scene, tmp_path / "tuned.zarr", tune=SECONDS, **options)
        (result,) = report.images
        assert result.tuned
        assert model_name(tmp_path / "tuned.zarr").startswith("misfit-tuned")
        saved = store_bytes(tmp_path / "plain.zarr") - store_bytes(tmp_path / "tuned.zarr")
        assert saved >= result.tuning_saved_bytes > 0
        assert saved - result.tuning_saved_bytes <= 2 * weights.SPARE_BYTES  # all chunks were tried
        found = zarr.open_group(tmp_path / "tuned.zarr", mode="r")["0/image"][...]
        assert np.abs(found.astype(int) - np.load(scene)).max() <= max_error

    def test_each_image_is_judged_by_itself(self, scene: Path, misfit: Path, tmp_path: Path):
        """Noise as the model knows it gains nothing beside a scene that gains much."""
        noise = np.random.default_rng(2).integers(0, 2, (40, 40)).astype(np.uint8)
        np.save(tmp_path / "noise.npy", noise)
        report = run(
            scene, tmp_path / "noise.npy", tmp_path / "out", tune=SECONDS, model=str(misfit)
        )
        tuned = {Path(image.source).stem: image.tuned for image in report.images}
        assert tuned == {"scene": True, "noise": False}

    def test_the_weights_are_counted_as_often_as_documents_repeat_them(
        self, scene: Path, misfit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(lean, "LEAN_STORED_BYTES", -1)  # as of images that are not small
        run(scene, tmp_path / "one.zarr", model=str(misfit))
        config = json.loads(StoreReader.open(tmp_path / "one.zarr").codec("image").configuration)
        documents = [path.read_text() for path in (tmp_path / "one.zarr").rglob("zarr.json")]
        times = sum(text.count(config["model"]["weights"]) for text in documents)
        assert times == weights.DOCUMENTS

    def test_an_estimate_from_some_chunks_leaves_room_for_chance(self):
        chunks = [np.zeros((10, 10), np.uint8)] * 4
        sample = weights._Sample(chunks, 4000, False, "image")
        total, surely = sample.scaled(np.array([10.0, 10.0, 10.0, 10.0]))
        assert total == surely == 400
        total, surely = sample.scaled(np.array([0.0, 0.0, 0.0, 40.0]))
        assert total == 400
        assert surely < 0


class TestResume:
    """Training gives other weights each time; a begun store goes on with those it has."""

    @pytest.mark.usefixtures("small_shards")
    def test_the_same_line_takes_the_same_weights(self, scene: Path, misfit: Path, tmp_path: Path):
        options = {"tune": SECONDS, "tile": 128, "model": str(misfit)}
        with pytest.raises(KeyboardInterrupt):
            run(scene, tmp_path / "out", progress=Notes(interrupt_after=4), **options)
        kept = sorted((tmp_path / "out" / ".tilepress").glob("tuned-*/*.safetensors"))
        shas = {hashlib.sha256(path.read_bytes()).hexdigest() for path in kept}
        again = Notes()
        report = run(scene, tmp_path / "out", progress=again, **options)
        assert report.ok, report.failures
        (result,) = report.images
        assert result.shards_reused == 4
        assert result.tuned
        assert again.texts == ["tuning: going on with the weights of the run before"]
        assert weights_sha256(tmp_path / "out" / "scene.zarr") in shas
        assert not (tmp_path / "out" / ".tilepress").exists()

    @pytest.mark.usefixtures("small_shards")
    def test_weights_are_kept_until_every_store_has_its_own(self, scene: Path, tmp_path: Path):
        with pytest.raises(KeyboardInterrupt):
            run(scene, tmp_path / "out", tune=SECONDS, tile=128, progress=Notes(interrupt_after=1))
        kept = (tmp_path / "out" / ".tilepress").glob("tuned-*/*.safetensors")
        names = {path.stem for path in kept}
        assert "wave-3-tuned-tables" in names  # a network that no step has changed is not kept
        assert names <= set(weights.tuned_names("wave-3"))

    def test_what_is_sealed_is_left_alone_without_tuning_again(
        self, scene: Path, misfit: Path, tmp_path: Path
    ):
        options = {"tune": SECONDS, "model": str(misfit)}
        run(scene, tmp_path / "out", **options)
        before = weights_sha256(tmp_path / "out" / "scene.zarr")
        again = Notes()
        report = run(scene, tmp_path / "out", progress=again, **options)
        assert [image.status for image in report.images] == ["unchanged"]
        assert report.images[0].tuned
        assert again.texts == []
        assert weights_sha256(tmp_path / "out" / "scene.zarr") == before

    @pytest.mark.parametrize("levels", [2, "none"])
    def test_what_has_other_levels_than_it_would_get_is_left_alone(
        self,
        scene: Path,
        misfit: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        levels: int | str,
    ):
        options = {"tune": SECONDS, "model": str(misfit)}
        run(scene, tmp_path / "out", **options, levels=levels)
        monkeypatch.setattr(made_levels, "_LARGE", 1000)
        for more in ({}, {"checksum": True}):
            report = run(scene, tmp_path / "out", **options, **more)
            assert [image.status for image in report.images] == ["unchanged"], report.failures
            assert report.images[0].tuned

    def test_what_an_earlier_version_tuned_is_left_alone(
        self, scene: Path, misfit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        run(scene, tmp_path / "out", tune=SECONDS, model=str(misfit))
        before = weights_sha256(tmp_path / "out" / "scene.zarr")
        failed = run(scene, tmp_path / "out", tune=SECONDS)
        assert "model misfit-tuned" in failed.failures[0].message
        monkeypatch.setattr(WaveCoder, "former_models", {"standard": ("misfit",)})
        monkeypatch.setenv("TILEPRESS_MODELS", str(misfit.parent))
        report = run(scene, tmp_path / "out", tune=SECONDS)
        assert [image.status for image in report.images] == ["unchanged"], list(report.failures)
        assert weights_sha256(tmp_path / "out" / "scene.zarr") == before

    def test_another_version_of_the_source_is_a_conflict(
        self, scene: Path, misfit: Path, tmp_path: Path
    ):
        options = {"tune": SECONDS, "model": str(misfit)}
        run(scene, tmp_path / "out", **options)
        np.save(scene, smooth((300, 400), seed=3))
        report = run(scene, tmp_path / "out", **options)
        assert "its source has changed since" in report.failures[0].message

    def test_workers_find_the_weights(self, scene: Path, misfit: Path, tmp_path: Path):
        report = run(scene, tmp_path / "out", tune=SECONDS, model=str(misfit), workers=1)
        assert report.ok, report.failures
        assert report.images[0].tuned


class TestNothingToLearn:
    """A run goes on with the weights that it has."""

    def test_flat_images_teach_nothing_and_are_coded_all_the_same(self, tmp_path: Path):
        np.save(tmp_path / "flat.npy", np.zeros((64, 64), np.uint8))
        notes = Notes()
        report = run(tmp_path / "flat.npy", tmp_path / "out", tune=SECONDS, progress=notes)
        assert report.ok, report.failures
        assert notes.texts == ["tuning: found nothing to learn from"]


class TestRefusals:
    """Nothing is written where nothing can be tuned."""

    @pytest.mark.parametrize("seconds", [0.0, -1.0, float("inf"), float("nan")])
    def test_seconds_that_make_no_sense(self, scene: Path, tmp_path: Path, seconds: float):
        with pytest.raises(UsageError, match="seconds"):
            run(scene, tmp_path / "out", tune=seconds)
        assert not (tmp_path / "out").exists()

    def test_without_torch_it_says_what_to_install(
        self, scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(room.importlib.util, "find_spec", lambda name: None)
        with pytest.raises(UsageError, match=r"pip install 'tilepress\[torch\]'"):
            run(scene, tmp_path / "out", tune=SECONDS)
        assert not (tmp_path / "out").exists()

    def test_a_tier_without_its_model(self, scene: Path, tmp_path: Path):
        with pytest.raises(UsageError, match="no model is called 'nobody'"):
            run(scene, tmp_path / "out", model="nobody", tune=SECONDS)


class TestTelling:
    """People see that weights are tuned, how long it takes, and what it brings."""

    def test_the_start_and_the_end(self, scene: Path, misfit: Path, tmp_path: Path):
        notes = Notes()
        report = run(scene, tmp_path / "out", tune=SECONDS, model=str(misfit), progress=notes)
        assert notes.texts[0].startswith("tuning misfit for about 0.25 s (windows: 1, images: 1)")
        assert notes.texts[1].startswith("tuned in ")
        assert "tuned (saves about" in describe(report.images[0])
        assert report.to_json()["images"][0]["tuned"] is True

    @pytest.mark.parametrize(
        ("tuned", "saved", "text"),
        [
            (None, None, ""),
            (False, 0, ", not tuned (would not pay)"),
            (True, None, ", tuned"),
            (True, 12_300, ", tuned (saves about 12.3 kB)"),
        ],
    )
    def test_one_image(self, tuned: bool | None, saved: int | None, text: str):
        result = ImageResult(
            source="a", store="b", status="written", axes=("y", "x"), shape=(1, 1), dtype="uint8",
            raw_bytes=1, stored_bytes=1, shards=1, shards_reused=0, tuned=tuned,
            tuning_saved_bytes=saved,
        )  # fmt: skip
        assert describe(result).endswith(f"(ratio 1.00){text}")


@pytest.fixture
def tuning(scene: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Return a command that tunes for a minute."""
    line = [sys.executable, "-m", "tilepress", "compress", scene, tmp_path / "out"]
    with subprocess.Popen(
        [*map(str, line), "--tune", "60", "--workers", "0"], stderr=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


class TestInterrupt:
    """Ctrl-C ends tuning at once and leaves nothing behind that the next run would trip over."""

    @pytest.mark.slow
    def test_ctrl_c_while_tuning(self, tuning: subprocess.Popen[str], tmp_path: Path):
        assert tuning.stderr is not None
        assert "for about 60 s" in tuning.stderr.readline()
        time.sleep(1)
        tuning.send_signal(signal.SIGINT)
        assert tuning.wait(timeout=20) == 130
        assert "interrupted; run the same line again" in tuning.stderr.read()
        assert not list(tmp_path.glob("out/**/*.zarr"))
