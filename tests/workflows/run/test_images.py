"""The images of a request: one for a store, and never what the run itself wrote."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tilepress.errors import UsageError
from tilepress.pipeline.find.walk import Failure
from tilepress.workflows.run import images as room
from tilepress.workflows.run.images import find_images
from tilepress.workflows.run.request import CompressRequest

from ...helpers.samples import smooth
from .conftest import run


def found(source: Path, destination: Path, passed_over: Counter[str] | None = None) -> list[str]:
    """Return the names of what is found."""
    request = CompressRequest.of(source, destination, None, {})
    return [
        Path(item.path if isinstance(item, Failure) else item.paths[0]).name
        for item in find_images(request, passed_over)
    ]


class TestOneStoreTakesOneImage:
    """A name that ends in .zarr is that of a store, not of an archive."""

    def test_several_images_into_one_store_are_a_usage_error(self, image: Path, tmp_path: Path):
        np.save(tmp_path / "other.npy", smooth((30, 40)))
        with pytest.raises(UsageError, match=r"scene\.npy.*other\.npy"):
            run(image, tmp_path / "other.npy", tmp_path / "x.zarr")
        assert not (tmp_path / "x.zarr").exists()

    def test_a_message_names_some_of_them(self, tmp_path: Path):
        source = tmp_path / "in"
        source.mkdir()
        for number in range(room.LISTED_IMAGES + 2):
            np.save(source / f"{number:02}.npy", smooth((20, 20)))
        with pytest.raises(UsageError, match=r"00\.npy.*09\.npy, …; give a folder") as caught:
            found(source, tmp_path / "x.zarr")
        assert str(caught.value).count(".npy") == room.LISTED_IMAGES


class TestWhatIsFound:
    """What is no image is told of, companions are counted, and own output is left out."""

    def test_a_destination_inside_the_source_is_no_source(self, image: Path, tmp_path: Path):
        run(image.parent, image.parent)
        report = run(image.parent, image.parent)
        assert report.ok
        assert [result.status for result in report.images] == ["unchanged"]

    def test_images_failures_and_companions(self, tmp_path: Path):
        source = tmp_path / "in"
        source.mkdir()
        np.save(source / "a.npy", smooth((20, 20)))
        (source / "b.tif").write_bytes(bytes(99))
        (source / "notes.txt").touch()
        passed_over: Counter[str] = Counter()
        assert sorted(found(source, tmp_path / "out", passed_over)) == ["a.npy", "b.tif"]
        assert passed_over == {".txt": 1}
