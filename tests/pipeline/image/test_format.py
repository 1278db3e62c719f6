"""Images that were found are looked up by what they are of and by their files."""

from __future__ import annotations

from tilepress.pipeline.image.format import FoundImages
from tilepress.pipeline.image.source import SourceSpec


def spec(kind: str, *paths: str, **options: int) -> SourceSpec:
    return SourceSpec(kind=kind, paths=paths, options=options)


A, B, OTHER = spec("raster", "/in/x/1.tif"), spec("raster", "/in/y/1.tif"), spec("array", "/1.tif")


def test_images_are_found_by_kind_path_and_name() -> None:
    found = FoundImages([A, OTHER, B])
    assert list(found.of_kind("raster")) == [A, B]
    assert found.at("raster", "/in/y/1.tif") is B
    assert list(found.named("raster", "1.tif")) == [A, B]
    assert list(found.named("array", "1.tif")) == [OTHER]


def test_what_is_not_there_is_nothing() -> None:
    found = FoundImages([A])
    assert list(found.of_kind("series")) == []
    assert found.at("raster", "/in/2.tif") is None
    assert list(found.named("series", "1.tif")) == []


def test_of_several_images_of_a_file_the_last_one_stands_for_it() -> None:
    pages = [spec("raster", "/in/a.tif", page=page) for page in (1, 2)]
    assert list(FoundImages(pages).named("raster", "a.tif")) == pages[1:]
