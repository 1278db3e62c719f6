"""Train the context model of ``ntc`` on images of any kind that tilepress reads.

python -m tilepress.workflows.learn.ntc TRAIN... --manifest MANIFEST.tsv --out ntc-1.safetensors

The manifest groups images by class, so that no class outweighs the others, and says of which kind
they are: planes of satellite images are bands, those of medical ones slices. Without it only three
planes of 8 bits are bands.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

from tilepress.codecs.ntc.payload import MOST_BANDS
from tilepress.codecs.ntc.train import Crop, cut_crops, train_ntc
from tilepress.errors import UsageError
from tilepress.pipeline.storage.atomic import write_atomic
from tilepress.workflows.learn.train import images

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Train, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", nargs="+", type=Path)
    parser.add_argument("--manifest", type=Path)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument(
        "--steps", type=int, default=6000, help="of each net, in each of two rounds"
    )
    parser.add_argument("--examples", type=int, default=3_000_000, help="for each net and round")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)

    def progress(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    known = {} if given.manifest is None else _read_manifest(given.manifest)
    crops: list[Crop] = []
    for number, (path, planes, bands) in enumerate(images(given.sources, progress)):
        if planes.dtype.kind not in "iu":
            continue
        kind, group = known.get(path.resolve(), ("", str(path.parent)))
        if kind == "sat" and len(planes) <= MOST_BANDS:
            bands = len(planes)
        crops += cut_crops(planes, bands, group, given.seed + number)
    if not crops:
        raise UsageError("training: no image of at least 64 × 64 integer samples was found")
    progress(f"{len(crops)} crops, {sum(c.planes.size for c in crops)} samples")
    model = train_ntc(
        crops, steps=given.steps, examples=given.examples, seed=given.seed, progress=progress
    )
    data = model.to_bytes()
    write_atomic(given.out, data)
    progress(f"{len(data)} bytes")
    return 0


def _read_manifest(path: Path) -> dict[Path, tuple[str, str]]:
    """Return kind and class of the images that a table names."""
    with path.open(newline="") as table:
        rows = csv.DictReader(table, delimiter="\t")
        return {(path.parent / r["file"]).resolve(): (r["kind"], r["class"]) for r in rows}


if __name__ == "__main__":
    raise SystemExit(main())
