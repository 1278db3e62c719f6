"""Open stores by another decoder than the base: which may be had, and where none may be taken."""

from __future__ import annotations

from tilepress.codecs.coder import BASE
from tilepress.errors import UsageError
from tilepress.pipeline.formats import has_private_names
from tilepress.pipeline.storage.path import AnyPath
from tilepress.pipeline.store.reader import StoreReader

__all__ = ["open_by", "refuse_made_up"]


def open_by(
    path: AnyPath, decoder: str, *, force_generative: bool = False, any_codec: bool = False
) -> StoreReader:
    """Open a sealed store to be read by a decoder (``TileCodec``).

    any_codec : whether a store whose codec has the base alone is read by that, as it is where an
        archive has several codecs; otherwise it is refused.
    force_generative : whether a decoder that makes up detail may be taken for medical images.

    Raises what ``StoreReader.open`` does, and UsageError for what is refused.
    """
    reader = StoreReader.open(path, decoder=decoder)
    if decoder == BASE:
        return reader
    if reader.decoder_note is None and not any_codec:
        raise UsageError(
            f"opening {reader.path.name}: its codec has no decoder {decoder!r}, only {BASE!r}"
        )
    if not force_generative and has_private_names(str(reader.origin["kind"])):
        refuse_made_up(reader)
    return reader


def refuse_made_up(reader: StoreReader) -> None:
    """Raise UsageError if detail of medical images would be made up."""
    if reader.makes_up:
        raise UsageError(
            f"opening {reader.path.name}: decoder {reader.decoder!r} makes up detail, which "
            "medical images must not have; --force-generative takes it all the same"
        )
