"""The commands that show stores: show in a picture, serve in a browser."""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import os
import secrets
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from tilepress.codecs.numbers import shown as shown_text
from tilepress.errors import UsageError
from tilepress.workflows.cli.console import say
from tilepress.workflows.cli.options import DecoderChoice, ForceGenerative

__all__ = ["register", "serve", "show"]

VARIABLE = "TILEPRESS_TOKEN"
"""The token, where it should not stand on the command line."""

WARMING_S = 5.0
"""How long the end waits for what is loaded beside the start."""

INDICES = "ndvi, evi, savi, ndwi, ndmi, nbr, ndsi, vari"
"""Names of ``pipeline.read.indices``, for a help that loads nothing."""

_PNG = b"\x89PNG\r\n\x1a\n"
"""The first bytes of every PNG file."""


def register(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command()(show)
    app.command()(serve)


def show(
    store: Annotated[str, typer.Argument(metavar="STORE", help="A store (*.zarr)")],
    png: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a PNG file instead.")
    ] = None,
    size: Annotated[
        int,
        typer.Option(metavar="N", min=16, max=8192, help="With --png: longer side of the picture."),
    ] = 1024,
    at: Annotated[
        str,
        typer.Option(metavar="AXIS:N,…", help="Places along further axes, from 0, e.g. z:12."),
    ] = "",
    bands: Annotated[
        str,
        typer.Option(
            metavar="A,B,C",
            help="Bands, by name or by number from 1, as red, green and blue, or one.",
        ),
    ] = "",
    index: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help=f"An index, where it is known which bands it is of: {INDICES}.",
        ),
    ] = "",
    expression: Annotated[
        str,
        typer.Option(
            metavar="FORMULA",
            help="An index of your own: numbers, bands by name (nir), as b4 or as [4], + - * / "
            "( ), sqrt, abs, min, max.",
        ),
    ] = "",
    rescale: Annotated[
        str,
        typer.Option(
            metavar="LOW,HIGH",
            help="Values of an index that are brown and green; white is halfway. -1,1 by itself.",
        ),
    ] = "",
    decoder: DecoderChoice = "base",
    force_generative: ForceGenerative = False,
) -> None:
    """Show a store: in the terminal, or as a PNG file.

    Colours and contrast are those that the store says of itself (OME-Zarr). A terminal shows two
    rows of samples in each line, in 24-bit colours.

    **Examples**

        tilepress show out/scene.zarr

        tilepress show out/scene.zarr --png scene.png --bands 4,3,2

        tilepress show out/CT-0123456789ab.zarr --at z:40 --png slice.png

        tilepress show out/scene.zarr --index ndvi --png ndvi.png

        tilepress show out/scene.zarr --expression "(b4-b3)/(b4+b3)" --rescale=-0.5,0.5
    """
    from tilepress.pipeline.read.decoders import open_by
    from tilepress.workflows.serve.shown import Shown, as_png, as_text

    if sum(map(bool, (bands, index, expression))) > 1:
        raise UsageError("showing: give one of --bands, --index and --expression")
    if index and index.strip().lower() not in INDICES.split(", "):
        raise UsageError(f"showing: got --index {shown_text(index)}, want one of {INDICES}")
    if rescale and not (index or expression):
        raise UsageError("showing: --rescale is of an index; give --index or --expression")
    shown = Shown(at=at, bands=bands, expression=index or expression, rescale=rescale)

    opened = functools.partial(open_by, decoder=decoder, force_generative=force_generative)
    if png is None:
        for line in as_text(store, shown, opened):
            print(line)
        return
    if png.is_file() and not _is_png(png):  # a slip would cost an original
        raise UsageError(f"drawing: {png} is there, and no PNG file; choose another name")
    data = as_png(store, size, shown, opened)
    png.write_bytes(data)
    say(str(png))


def serve(
    where: Annotated[
        str, typer.Argument(metavar="STORE|ARCHIVE", help="A store, or a folder of stores.")
    ],
    port: Annotated[int, typer.Option(metavar="P", min=0, max=65535, help="0: any.")] = 8000,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where to listen; others than this machine "
                          "reach it only where that is said.")
    ] = "127.0.0.1",
    token: Annotated[
        str | None,
        typer.Option(
            metavar="TOKEN",
            help="What a browser must give; made up where HOST is not this machine. Or "
            f"${VARIABLE}.",
        ),
    ] = None,
    original: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SRC",
            help="Files or folders that stores were made of: shown beside stores that are within a "
            "bound or lossy, and how far these are from it.",
        ),
    ] = None,
    cors: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            help="A page of this origin may ask, too: a viewer that is served elsewhere, e.g. "
            "http://localhost:3000.",
        ),
    ] = None,
    decoder: DecoderChoice = "base",
    force_generative: ForceGenerative = False,
) -> None:  # fmt: skip
    """Look at stores in a browser: an index, deep zoom, slices of volumes, map tiles.

    DICOM stores are also there for DICOMweb clients, below /dicom-web: search, metadata, instances,
    frames and pictures, with the names of patients that their files have.

    Nothing is written, and nothing outside of what is named is read. Ctrl-C ends it. Needs the
    extra serve: pip install 'tilepress[serve]'.

    **Examples**

        tilepress serve out/

        tilepress serve out/scene.zarr --port 0

        tilepress serve out/ --host 0.0.0.0 --token "$(openssl rand -hex 16)"

        tilepress serve out/ --original /archive

        tilepress serve out/ --cors https://viewer.example.org
    """
    try:
        import uvicorn

        from tilepress.workflows.serve.app import build
    except ImportError as error:
        raise UsageError(
            "serving: the packages of the viewer are not installed; pip install 'tilepress[serve]'"
        ) from error
    from tilepress.workflows.serve.listening import listening
    from tilepress.workflows.serve.originals import Originals
    from tilepress.workflows.serve.shelf import Shelf
    from tilepress.workflows.serve.warm import warm_beside

    token = token or os.environ.get(VARIABLE) or None
    here = _is_loopback(host)
    if token is None and not here:
        token = secrets.token_urlsafe(16)
    origins = [_origin(text) for text in cors or ()]
    shelf = Shelf(where, decoder, force_generative=force_generative)
    originals = Originals(shelf, original) if original else None
    with listening(host, port) as sock:
        number = sock.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{number}/" + (f"?token={token}" if token else "")
        say(f"serving {where} at {address} (Ctrl-C ends it)")
        app = build(
            shelf,
            hosts=("127.0.0.1", "localhost", "::1") if here else None,
            token=token,
            origins=origins,
            originals=originals,
        )
        warming = warm_beside(shelf)
        config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False)
        with contextlib.suppress(KeyboardInterrupt):  # how it is meant to end
            uvicorn.Server(config).run(sockets=[sock])
        with contextlib.suppress(KeyboardInterrupt):
            warming.join(WARMING_S)  # Zarr complains where a read is cut off by the end


def _is_png(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_PNG)) in (_PNG, b"")


def _origin(text: str) -> str:
    """Return an origin as browsers write it; raises UsageError."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
        raise UsageError(f"serving: got --cors {text!r}, want an origin, as https://host:port")
    return f"{parts.scheme}://{parts.netloc}".lower()


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
