"""Training on a user's own images: what it writes codes, and odd options are told at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from tilepress.codecs.wave.codec import load_model
from tilepress.codecs.wave.model import WaveModel
from tilepress.errors import UsageError
from tilepress.pipeline.store.reader import StoreReader
from tilepress.workflows.run.compress import compress

from ...helpers.samples import smooth

SECONDS = 0.25


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    path = tmp_path / "scene.npy"
    np.save(path, smooth((300, 400)))
    return path


class TestTrain:
    """``train --from`` goes on from a model, and what it writes codes."""

    def test_a_model_from_a_model_codes(self, scene: Path, tmp_path: Path):
        from tilepress.workflows.learn.train import train

        out = tmp_path / "mine.safetensors"
        train([scene], out, SECONDS / 60, Path("wave-2"), lambda text: None, samples=50_000)
        assert WaveModel.from_bytes(out.read_bytes()).hidden == load_model("auto").hidden
        assert compress(scene, tmp_path / "one.zarr", workers=0, model=str(out)).ok
        statement = StoreReader.open(tmp_path / "one.zarr").statement
        assert statement["model"]["name"] == "mine"

    @pytest.mark.parametrize(
        ("base", "options", "text"),
        [
            (Path("wave-2"), {"hidden": 16}, "leave --hidden out"),
            (Path("wave-2"), {"linear_only": True}, "excludes --from"),
            (Path("wave-2-fast"), {}, "no network to go on from"),
            (Path("nobody"), {}, "no model is called 'nobody'"),
            (None, {"hidden": 12}, "want 8, 16"),
        ],
    )
    def test_options_that_say_no_one_network(
        self, scene: Path, tmp_path: Path, base: Path | None, options: dict[str, int], text: str
    ):
        from tilepress.workflows.learn.train import train

        with pytest.raises(UsageError, match=text):
            train([scene], tmp_path / "m.safetensors", 1, base, lambda t: None, **options)  # type: ignore[arg-type]

    def test_small_images_are_nothing_to_learn_from(self, tmp_path: Path):
        from tilepress.workflows.learn.train import train

        np.save(tmp_path / "small.npy", smooth((15, 400)))
        with pytest.raises(UsageError, match="no image of at least 16 × 16 integer samples"):
            train([tmp_path / "small.npy"], tmp_path / "m.safetensors", 1, None, lambda t: None)
