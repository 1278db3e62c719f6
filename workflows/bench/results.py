"""What every codec made of every image: sizes, differences by class, and the tables of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tilepress.codecs.classical import ANCHORS
from tilepress.codecs.loss import Lossless, Within, bounded
from tilepress.workflows.bench.sizes import BEST
from tilepress.workflows.bench.tables import Figures

__all__ = [
    "REFERENCES",
    "BenchImage",
    "BenchResult",
    "class_groups",
    "class_table",
    "file_table",
]

REFERENCES = ("jpegxl", BEST)
"""What the columns Δ refer to: the best of JPEG XL's efforts 3, 7 and 9, and of all anchors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchImage:
    """What every codec made of one image."""

    path: str
    kind: str
    """Class of the manifest; "all" without one."""
    flat: bool
    """One plane or one RGB image; else a volume or bands."""
    shape: tuple[int, ...]
    dtype: str
    samples: int
    raw_bytes: int
    sizes: Mapping[str, int]
    """Bytes by codec; a codec that does not take such samples is missing."""
    seconds: float
    """Time that tilepress took to encode, decode and compare."""
    remarks: tuple[str, ...] = ()

    def bits(self, codec: str) -> float | None:
        """Return bits per sample."""
        size = self.sizes.get(codec)
        return None if size is None else 8 * size / self.samples


@dataclass(slots=True, kw_only=True)
class BenchResult:
    """The sizes of all images at one ``max_error``."""

    codecs: tuple[str, ...]
    """The columns: codecs, then ``BEST`` where there is more than one other."""
    max_error: float = 0
    images: list[BenchImage] = field(default_factory=list)

    def by_class(self) -> dict[str, list[BenchImage]]:
        classes: dict[str, list[BenchImage]] = {}
        for image in sorted(self.images, key=lambda image: (image.kind, image.path)):
            classes.setdefault(image.kind, []).append(image)
        return classes

    @property
    def loss(self) -> Lossless | Within:
        """What coding may change of the samples."""
        return bounded(self.max_error)

    @property
    def ours(self) -> list[str]:
        return [codec for codec in self.codecs if codec not in ANCHORS and codec != BEST]

    @property
    def deltas(self) -> list[tuple[str, str]]:
        """Return (codec of ours, what it is compared with) of every column Δ."""
        return [
            (name, reference)
            for name in self.ours
            for reference in REFERENCES
            if reference in self.codecs
        ]

    def to_json(self) -> dict[str, Any]:
        """Return the sizes as JSON-able values, with the figures by class and their means."""
        classes = self.by_class()
        return {
            "codecs": list(self.codecs),
            "max_error": self.max_error,
            "classes": {
                kind: {codec: bits_per_sample(images, codec) for codec in self.codecs}
                for kind, images in classes.items()
            },
            "changes_percent": {
                kind: {
                    f"{name} to {reference}": change(images, name, reference)
                    for name, reference in self.deltas
                }
                for kind, images in classes.items()
            },
            "means_percent": {
                title: {
                    f"{name} to {reference}": mean_change(chosen, name, reference)
                    for name, reference in self.deltas
                }
                for title, chosen in class_groups(self).items()
            },
            "images": [asdict(image) for image in self.images],
        }


def bits_per_sample(images: Sequence[BenchImage], codec: str) -> float | None:
    """Return all bits over all samples; None where the codec did not take one of the images."""
    sizes = [image.sizes.get(codec) for image in images]
    known = [size for size in sizes if size is not None]
    if not known or len(known) < len(sizes):
        return None
    return 8 * sum(known) / sum(image.samples for image in images)


def change(images: Sequence[BenchImage], codec: str, reference: str) -> float | None:
    """Return by how many per cent the codec's size differs from the reference's."""
    ours, theirs = bits_per_sample(images, codec), bits_per_sample(images, reference)
    return None if ours is None or not theirs else 100 * (ours / theirs - 1)


def mean_change(
    classes: Sequence[Sequence[BenchImage]], codec: str, reference: str
) -> float | None:
    """Return the mean over classes, each counting once; None where no class has a figure."""
    changes = [change(images, codec, reference) for images in classes]
    known = [value for value in changes if value is not None]
    return float(np.mean(known)) if known else None


def class_groups(result: BenchResult) -> dict[str, list[list[BenchImage]]]:
    """Return the groups of classes that get a mean: all, flat ones, volumes and bands.

    A class counts as flat if most of its images are.
    """
    classes = list(result.by_class().values())
    flat = [images for images in classes if 2 * sum(i.flat for i in images) > len(images)]
    deep = [images for images in classes if images not in flat]
    groups = {"mean over classes": classes} if len(classes) > 1 else {}
    if flat and deep:
        groups |= {"… of 2-D images": flat, "… of volumes and bands": deep}
    return groups


def file_table(result: BenchResult) -> Figures:
    """Return bits per sample of every image."""
    table = _table("bits per sample", "image", "samples", result)
    for kind, images in result.by_class().items():
        for image in images:
            shape = " × ".join(map(str, image.shape))
            table.rows.append(
                (
                    f"{kind}: {Path(image.path).name}" if kind != "all" else Path(image.path).name,
                    f"{image.dtype} {shape}",
                    *_cells([image], result),
                )
            )
    return table


def class_table(result: BenchResult) -> Figures:
    """Return bits per sample of every class, and the mean over the classes of the differences."""
    table = _table("bits per sample by class", "class", "images", result)
    for kind, images in result.by_class().items():
        table.rows.append((kind, str(len(images)), *_cells(images, result)))
    if not result.deltas:
        return table
    for title, classes in class_groups(result).items():
        means = [_percent(mean_change(classes, *delta)) for delta in result.deltas]
        count = str(sum(map(len, classes)))
        table.totals.append((title, count, *("" for _ in result.codecs), *means))
    return table


def _table(title: str, first: str, second: str, result: BenchResult) -> Figures:
    title += f", {result.loss}"
    several = len(result.ours) > 1
    deltas = [
        f"Δ {reference}" + (f" ({name})" if several else "") for name, reference in result.deltas
    ]
    table = Figures(title, (first, second, *result.codecs, *deltas))
    if "jpegxl" in result.codecs:
        table.notes.append("jpegxl: the best of efforts 3, 7 and 9; RGB also as one image")
    if not result.loss.is_lossless and "jpegls" in result.codecs:
        table.notes.append("jpegls: NEAR = max error, or lossless on quantised samples")
    if BEST in result.codecs:
        table.notes.append("best: the smallest of all other codecs, plane by plane")
    return table


def _cells(images: Sequence[BenchImage], result: BenchResult) -> list[str]:
    bits = [bits_per_sample(images, codec) for codec in result.codecs]
    changes = [change(images, *delta) for delta in result.deltas]
    return [*("–" if value is None else f"{value:.3f}" for value in bits), *map(_percent, changes)]


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:+.1f} %"
