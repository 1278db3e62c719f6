"""Ask OpenSlide, which is an extra: whether it is here, and whether it takes a file."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

from tilepress.errors import UnsupportedSource
from tilepress.pipeline.image.format import HEAD_BYTES
from tilepress.pipeline.openslide.marks import maker_of, tiff_maker
from tilepress.pipeline.storage.regular import open_regular

__all__ = ["check_installed", "is_installed", "takes"]


@cache
def is_installed() -> bool:
    """Whether OpenSlide and what calls it are installed: two packages, of which one may lack."""
    return all(find_spec(package) is not None for package in ("openslide", "openslide_bin"))


def check_installed(path: str) -> None:
    """Raise UnsupportedSource, with what to install, where there is no OpenSlide."""
    if not is_installed():
        with open_regular(path) as file:
            maker = maker_of(file.read(HEAD_BYTES), path, file) or tiff_maker(file)
        whose = "" if maker is None else f" of {maker.value}"
        raise UnsupportedSource(
            f"opening {path}: a slide{whose}, which OpenSlide reads: "
            "pip install 'tilepress[formats]'"
        )


def takes(path: str) -> bool:
    """Whether OpenSlide opens a file, as a slide of a format that it knows by more than tiles."""
    import openslide

    try:
        with openslide.OpenSlide(path) as slide:
            return slide.properties.get("openslide.vendor") != "generic-tiff"
    except openslide.OpenSlideError:
        return False
