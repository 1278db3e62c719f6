"""Images that claim far more than their files can hold are refused, and taken when asked for."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from tilepress.errors import UnsupportedSource
from tilepress.pipeline.archive.expansion import check_expansion
from tilepress.pipeline.image.info import ImageInfo
from tilepress.pipeline.image.source import SourceSpec


@dataclass
class Claims:
    shape: tuple[int, int]
    size: int
    spec: SourceSpec = field(init=False)
    info: ImageInfo = field(init=False)

    def __post_init__(self) -> None:
        self.spec = SourceSpec(kind="geotiff", paths=("/a.tif",), source_bytes=self.size)
        self.info = ImageInfo(name="a", axes=("y", "x"), shape=self.shape, dtype=np.dtype(np.uint8))


def test_a_kilobyte_that_claims_a_terabyte_is_refused_with_the_flag_that_lifts_it():
    with pytest.raises(UnsupportedSource, match=r"--max-expansion 1000000000$"):
        check_expansion(Claims((10**6, 10**6), 1000), 1000)
    check_expansion(Claims((10**6, 10**6), 1000), 1e9)
    check_expansion(Claims((10**6, 10**6), 1000), 0)


def test_what_the_message_says_is_enough():
    claims = Claims((10**6, 10**6 + 1), 999)
    with pytest.raises(UnsupportedSource) as caught:
        check_expansion(claims, 1000)
    check_expansion(claims, float(str(caught.value).rpartition(" ")[2]))


def test_small_images_are_taken_however_well_they_were_compressed():
    check_expansion(Claims((2**15, 2**15), 10), 1000)


def test_large_images_of_common_compression_are_taken():
    check_expansion(Claims((10**5, 10**5), 10**8), 1000)


def test_a_folder_that_nobody_has_counted_is_counted(tmp_path):
    claims = Claims((10**6, 10**6), 0)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "0").write_bytes(bytes(2000))
    claims.spec = SourceSpec(kind="array", paths=(str(tmp_path),))
    with pytest.raises(UnsupportedSource, match="its 2000 bytes claim"):
        check_expansion(claims, 1000)
