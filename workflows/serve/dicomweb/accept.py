"""What a client takes, best first: media types, transfer syntaxes (RFC 9110 12.5.1, PS3.18 8.7)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.requests import Request

__all__ = ["ANY", "Taken", "not_acceptable", "taken", "takes_json"]

ANY = "*"
"""The transfer syntax that something is kept in, whichever that is."""

MAX_ACCEPT = 4096
"""Characters of the header."""

_PART = re.compile(
    r"""\s*([a-z0-9!#$&^_.+-]+|\*)/([a-z0-9!#$&^_.+-]+|\*)
    ((?:\s*;\s*[a-z0-9-]+\s*=\s*(?:"[^"\\]*"|[^\s";,]+))*)\s*(?:,|$)""",
    re.VERBOSE | re.IGNORECASE,
)
_PARAMETER = re.compile(r""";\s*([a-z0-9-]+)\s*=\s*(?:"([^"\\]*)"|([^\s";,]+))""", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Taken:
    """One thing that a client takes."""

    media: str
    """As "application/dicom", "image/*" or "*/*"; of a multipart answer that of its parts."""
    multipart: bool | None
    """None: either."""
    syntax: str | None
    """Transfer syntax; None where nothing is said."""

    def means(self, media: str) -> bool:
        """Whether this media type is taken."""
        kind, _, name = self.media.partition("/")
        ours, _, called = media.partition("/")
        return kind in ("*", ours) and name in ("*", called)


def taken(request: Request) -> list[Taken]:
    """Return what a request takes, best first; without a word of it anything.

    The parameter ``accept`` of the address goes before the header (PS3.18 8.3.3.1). Raises
    HTTPException 400 for what is no such list.
    """
    text = request.query_params.get("accept") or ",".join(request.headers.getlist("accept"))
    if len(text) > MAX_ACCEPT:
        raise HTTPException(400, "Accept is too long")
    found = list(_parsed(text)) if text.strip() else [(1.0, Taken("*/*", None, ANY))]
    return [one for weight, one in sorted(found, key=lambda pair: -pair[0]) if weight > 0]


def takes_json(request: Request) -> None:
    """Raise HTTPException 406 where a request does not take application/dicom+json."""
    for one in taken(request):
        if one.multipart:
            continue
        if one.means("application/dicom+json") or one.means("application/json"):
            return
    raise not_acceptable("application/dicom+json")


def not_acceptable(*offered: str) -> HTTPException:
    """Return what says that nothing of what is offered is taken."""
    return HTTPException(406, f"Accept asks for nothing of what there is: {', '.join(offered)}")


def _parsed(text: str) -> Iterator[tuple[float, Taken]]:
    at = 0
    while at < len(text):
        match = _PART.match(text, at)
        if match is None or match.end() == at:
            raise HTTPException(400, "Accept is no list of media types")
        at = match.end()
        media = f"{match[1]}/{match[2]}".lower()
        told = {name.lower(): quoted or plain for name, quoted, plain in _pairs(match[3])}
        weight = _weight(told.get("q", "1"))
        syntax = told.get("transfer-syntax")
        if syntax is not None and not re.fullmatch(r"[0-9.]{1,64}|\*", syntax):
            raise HTTPException(400, "Accept names a transfer syntax that is no UID")
        if media.startswith("multipart/"):
            yield weight, Taken(told.get("type", "*/*").lower(), True, syntax)
        else:
            anything = media == "*/*"  # then in the transfer syntax that it is kept in, too
            yield (
                weight,
                Taken(media, None, syntax or ANY) if anything else Taken(media, False, syntax),
            )


def _pairs(text: str) -> Sequence[tuple[str, str, str]]:
    return _PARAMETER.findall(text)


def _weight(text: str) -> float:
    if not re.fullmatch(r"[01](\.[0-9]{0,3})?", text):
        raise HTTPException(400, "Accept has a weight that is no number from 0 to 1")
    return float(text)
