"""An image in a bucket is pinned to the versions of its objects that were found."""

from __future__ import annotations

from tilepress.pipeline.image.objects import is_pinned, objects_of, pinned, without_pins
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.storage.ranges import RemoteFile

BANDS = [RemoteFile(f"s3://b/in/{n}/s_B{n}.tif", 10 + n, f'"v{n}"') for n in (1, 2)]
NOTE = RemoteFile("s3://b/in/1/s_MTL.txt", 5, '"m"')


def recipe(companions: list[RemoteFile]) -> SourceSpec:
    options = {"name": "s", **pinned(BANDS, companions)}
    return SourceSpec(kind="stack", paths=tuple(one.url for one in BANDS), options=options)


def test_a_recipe_gives_back_what_it_was_pinned_to() -> None:
    spec = recipe([NOTE])
    assert is_pinned(spec)
    assert objects_of(spec) == [
        ("1/s_B1.tif", BANDS[0]),
        ("2/s_B2.tif", BANDS[1]),
        ("1/s_MTL.txt", NOTE),
    ]
    assert without_pins(spec) == {"name": "s"}


def test_what_the_options_say() -> None:
    """They are part of the plan's digest, so that they stay as they are."""
    assert pinned(BANDS, [NOTE]) == {
        "objects": [['"v1"', 11], ['"v2"', 12]],
        "companions": [["1/s_MTL.txt", '"m"', 5]],
    }


def test_a_companion_counts_once_and_an_image_is_none() -> None:
    assert recipe([NOTE, BANDS[1], NOTE]) == recipe([NOTE])


def test_files_of_this_machine_are_not_pinned() -> None:
    assert not is_pinned(SourceSpec(kind="geotiff", paths=("/a.tif",), options={"name": "a"}))
