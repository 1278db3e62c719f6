"""Training: a model comes out that codes, and that learned something."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs the extra torch")

from tilepress.codecs.wave.chunk import decode_chunk, encode_chunk
from tilepress.codecs.wave.codec import load_model
from tilepress.codecs.wave.model import WaveModel
from tilepress.codecs.wave.plane_encode import Coder
from tilepress.codecs.wave.train import TrainingImage, fine_tune, linear_baseline, train_wave


def texture(seed: int, shape: tuple[int, ...] = (2, 160, 160)) -> np.ndarray:
    """Edges and noise that depends on brightness: more than a line can predict."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[1], : shape[2]]
    waves = sum(np.sign(np.sin(y / p + x / q)) for p, q in rng.uniform(5, 30, (4, 2)))
    level = 400 + 90 * waves
    return np.stack(
        [level + rng.normal(size=shape[1:]) * level / 60 for _ in range(shape[0])]
    ).astype(np.uint16)


@pytest.fixture(scope="module")
def trained() -> tuple[WaveModel, WaveModel]:
    images = [TrainingImage(f"t{i}", f"g{i % 2}", texture(i)) for i in range(4)]
    said: list[str] = []
    model = train_wave(images, minutes=0.15, samples=120_000, progress=said.append)
    assert any("int8" in line for line in said)
    return model, linear_baseline(images, progress=said.append)


def size(model: WaveModel, samples: np.ndarray) -> int:
    coded = encode_chunk(samples, None, 0, Coder(model), 1)
    assert coded is not None
    back = decode_chunk(memoryview(coded[0]), samples.shape, samples.dtype, model)
    assert np.array_equal(back, samples)
    return len(coded[0])


@pytest.mark.slow
class TestTrainedModel:
    def test_beats_the_linear_path_on_its_own_kind(
        self, trained: tuple[WaveModel, WaveModel]
    ) -> None:
        model, linear = trained
        unseen = texture(99)
        assert size(model, unseen) < 0.99 * size(linear, unseen)

    def test_file_round_trip(self, trained: tuple[WaveModel, WaveModel]) -> None:
        data = trained[0].to_bytes()
        assert WaveModel.from_bytes(data).to_bytes() == data

    def test_goes_on_from_a_model(self, trained: tuple[WaveModel, WaveModel]) -> None:
        images = [TrainingImage("t", "g", texture(7))]
        more = train_wave(
            images, minutes=0.02, samples=20_000, base=trained[0], progress=lambda _: None
        )
        assert size(more, texture(98)) < 1.1 * size(trained[0], texture(98))

    @pytest.mark.parametrize("hidden", [8, 64])
    def test_has_the_hidden_units_asked_for(self, hidden: int) -> None:
        images = [TrainingImage("t", "g", texture(3, (1, 64, 64)))]
        model = train_wave(
            images, minutes=0.01, samples=4000, hidden=hidden, progress=lambda _: None
        )
        assert model.hidden == hidden
        assert size(model, texture(97, (2, 64, 64))) < 2 * 64 * 64 * 2


class TestFineTuning:
    """An archive's own model: better on its images, and still a model like any other."""

    @pytest.mark.parametrize("base", ["wave-2", "wave-2-fast"])
    def test_is_no_worse_on_what_it_saw(self, base: str) -> None:
        model = load_model(base)
        image = TrainingImage("t", "g", texture(5, (2, 96, 96)))
        said: list[str] = []
        tuned = fine_tune(model, [image], seconds=1.0, samples=20_000, progress=said.append)
        assert said
        assert tuned.hidden == model.hidden
        assert np.array_equal(tuned.linear, model.linear)
        assert WaveModel.from_bytes(tuned.to_bytes()).to_bytes() == tuned.to_bytes()
        assert size(tuned, image.planes) < size(model, image.planes)
        far = np.random.default_rng(0).integers(0, 2**16, (1, 40, 40)).astype(np.uint16) // 3 * 2
        assert size(tuned, far) < 1.02 * size(model, far)

    def test_leaves_the_base_alone(self) -> None:
        model = load_model("auto")
        before = model.to_bytes()
        image = TrainingImage("t", "g", texture(6, (1, 64, 64)))
        fine_tune(model, [image], seconds=0.3, samples=3000, progress=lambda _: None)
        assert model.to_bytes() == before
