"""What a trained model is worth: bytes of images that it did not see, before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tilepress.codecs.wave.chunk import encode_chunk
from tilepress.codecs.wave.model import WaveModel
from tilepress.codecs.wave.plane_encode import Coder
from tilepress.codecs.wave.train import TrainingImage
from tilepress.workflows.learn.windows import MIN_SIDE

__all__ = ["Verdict", "compared", "held_out"]

_FEW = 4
"""Images below which a part of each is held out instead of some of them."""
_EVERY = 8
"""Of more images, each so many-th is held out."""
_MOST = 12
_SIDE, _PLANES = 512, 3
"""Of an image that is held out, so much of its middle is coded."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Bits a sample with two models, on images that the second did not see."""

    images: int
    before: float
    after: float

    @property
    def is_worse(self) -> bool:
        return self.after > self.before

    def told(self, before: str) -> str:
        """Return a line for people; ``before`` is the name of the first model."""
        change = 100 * (self.after / self.before - 1)
        text = (
            f"on {self.images} images, or parts of images, that it did not see: {before} "
            f"{self.before:.3f} → {self.after:.3f} bits a sample ({change:+.1f} %)"
        )
        return f"{text}: worse, keep {before}" if self.is_worse else text


def held_out(
    pool: Sequence[TrainingImage],
) -> tuple[list[TrainingImage], list[TrainingImage]]:
    """Return what to train on and what to judge by: some images, or the last rows of few."""
    if len(pool) >= _FEW:
        kept = [image for i, image in enumerate(pool) if i % _EVERY != _FEW - 1]
        judged = [image for i, image in enumerate(pool) if i % _EVERY == _FEW - 1]
        return kept, judged[:_MOST]
    kept, judged = [], []
    for image in pool:
        rows = image.planes.shape[-2]
        last = rows // 4
        if last < MIN_SIDE:
            kept.append(image)
            continue
        kept.append(replace(image, planes=image.planes[..., : rows - last, :]))
        judged.append(replace(image, planes=image.planes[..., rows - last :, :]))
    return kept, judged


def compared(judged: Sequence[TrainingImage], before: WaveModel, after: WaveModel) -> Verdict:
    """Return what images cost with two models; samples count alike, whatever image they are of."""
    samples, spent = 0, [0, 0]
    for image in judged:
        part = _middle(image.planes)
        samples += part.size
        for k, model in enumerate((before, after)):
            coded = encode_chunk(part, None, 0, Coder(model), image.bands)
            spent[k] += min(part.nbytes, part.nbytes if coded is None else len(coded[0]))
    return Verdict(len(judged), *(8 * size / samples for size in spent))


def _middle(planes: np.ndarray) -> np.ndarray:
    cut = planes[:_PLANES]
    for axis in (1, 2):
        start = max(0, cut.shape[axis] - _SIDE) // 2
        cut = cut.take(np.arange(start, min(start + _SIDE, cut.shape[axis])), axis)
    return np.ascontiguousarray(cut)
