"""Compress a folder of DICOM files, look at a series, get the very same files back.

Needs the extra ``demo`` for its images. python examples/02_dicom.py [OUT]
"""

import shutil
import sys
import tempfile
from pathlib import Path

import tilepress
from tilepress.examples.data import dicom_files


def main(out: Path) -> None:
    incoming = out / "incoming"
    incoming.mkdir(parents=True)
    for path in dicom_files().values():
        shutil.copy(path, incoming)

    # One store per series, named by modality and a hash: no store name tells who the patient is.
    report = tilepress.compress(incoming, out / "archive")
    for image in report.images:
        print(f"{Path(image.store).name}: {image.dtype} {image.shape}, ratio {image.ratio:.2f}")

    # Samples are the stored values; slope and intercept stay beside them.
    computed = next(image for image in report.images if Path(image.store).name.startswith("CT"))
    dataset = tilepress.open(computed.store)
    samples = dataset["image"]
    slope = samples.attrs.get("rescale_slope", 1)
    intercept = samples.attrs.get("rescale_intercept", 0)
    print(f"largest value: {float(samples.max()) * slope + intercept:.0f} HU")

    originals = {path.read_bytes() for path in incoming.iterdir()}
    exported = [
        Path(path)
        for image in report.images
        for path in tilepress.export(image.store, out / "back" / Path(image.store).stem)
    ]
    same = sum(path.read_bytes() in originals for path in exported)
    print(f"{same} of {len(exported)} exported files are byte for byte what came in")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(Path(folder))
