"""What replaces identifiers is made outside of the guest that parses the files."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from tilepress.errors import SourceError, UnsupportedSource
from tilepress.pipeline import formats
from tilepress.pipeline.archive.private import archive_pseudonyms
from tilepress.pipeline.guests import client, wire
from tilepress.pipeline.guests.source import GuestSource
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.privacy.profile import Profile
from tilepress.pipeline.privacy.recipe import DEIDENTIFIED, deidentified
from tilepress.pipeline.sources.deidentified import DeidentifiedSource
from tilepress.pipeline.sources.open import open_source
from tilepress.pipeline.storage.path import storage_path

from ..images import IMAGE, dicom, npy, tiff
from ..remote import WHOLE, spec_of

pytestmark = pytest.mark.usefixtures("scratch")


@pytest.fixture
def asked(tmp_path: Path) -> Any:
    archive = storage_path(tmp_path / "archive")
    pseudonyms = archive_pseudonyms(archive)

    def recipe(path: Path) -> SourceSpec:
        return deidentified(spec_of(str(path)), Profile(), pseudonyms, archive)

    return recipe


@pytest.mark.parametrize("write", [tiff, npy, lambda path: dicom(path, 1, 1)])
@pytest.mark.parametrize("guests", ["on", "off"])
def test_an_image_of_any_format_in_a_guest_or_without_one(
    guests: str, write: Any, asked: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(client.SWITCH, guests)
    path = write(tmp_path / "DOE^JANE")
    with contextlib.closing(open_source(asked(path))) as source:
        assert isinstance(source, DeidentifiedSource)
        assert np.array_equal(source.read(WHOLE), IMAGE)
        told = source.info.attributes[DEIDENTIFIED]
        assert told["options"] == ["basic"]
        items = dict(source.source_items())
    assert b"DOE" not in b"".join(items.values())
    assert b'"deidentified"' in items["origin"]


def test_both_ways_give_the_same_bytes(asked: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    spec = asked(dicom(tmp_path / "a.dcm", 1, 1))
    made = []
    for guests in ("on", "off"):
        monkeypatch.setenv(client.SWITCH, guests)
        with contextlib.closing(open_source(spec)) as source:
            made.append(dict(source.source_items()))
    assert made[0] == made[1]


def test_no_guest_gets_the_key(asked: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    if not client.are_possible():
        pytest.skip("there are no guests here")
    sent: list[Any] = []
    send = wire.send

    def listen(link: Any, message: Any, file: int | None = None) -> None:
        sent.append(message)
        send(link, message, file)

    monkeypatch.setattr(wire, "send", listen)
    spec = asked(dicom(tmp_path / "a.dcm", 1, 1))
    with contextlib.closing(open_source(spec)) as source:
        dict(source.source_items())
    key = archive_pseudonyms(storage_path(tmp_path / "archive")).key
    assert key is not None
    told = repr(sent)
    assert "replaced items" in told
    assert key.hex() not in told
    assert repr(key)[2:-1] not in told


def test_identifiers_that_are_no_pairs_are_nonsense(
    asked: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    if not client.are_possible():
        pytest.skip("there are no guests here")
    with contextlib.closing(open_source(asked(dicom(tmp_path / "a.dcm", 1, 1)))) as source:
        monkeypatch.setattr(GuestSource, "_ask", lambda *_: [1, 2])
        with pytest.raises(SourceError, match="answered nonsense"):
            dict(source.source_items())


def test_a_format_that_cannot_is_refused_and_not_stored_as_it_is(
    asked: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(type(formats.ARRAY), "deidentifying_modules", None)
    with pytest.raises(UnsupportedSource, match="nobody knows what identifies"):
        open_source(asked(npy(tmp_path / "a.npy")))


def test_axes_of_an_array_that_may_be_names_get_others(asked: Any, tmp_path: Path):
    for axes, want in ((("doe", "jane"), ("y", "x")), (("lat", "lon"), ("lat", "lon"))):
        path = tmp_path / f"{axes[0]}.zarr"
        array = zarr.create_array(path, shape=IMAGE.shape, dtype=IMAGE.dtype, dimension_names=axes)
        array[...] = IMAGE
        with contextlib.closing(open_source(asked(path))) as source:
            assert source.info.axes == want
