"""What keeping JPEG streams takes, beside Lepton and JPEG XL's transcoding, in one run.

Streams of TIFF tiles and strips (the first image of a file) and of DICOM frames, chunk by chunk as
``tilepress.codecs.jpeg`` codes them. Lepton and JPEG XL get each stream by itself, with its tables,
as whole files; where one refuses, the stream counts as it is. Speeds are of one thread's processor
time, in bytes of JPEG.

    python -m tilepress.workflows.bench.jpeg FILE... [--side 1024] [--chunks 4]
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import imagecodecs

from tilepress.codecs.jpeg.codec import encode, streams
from tilepress.codecs.tile import TileCodec
from tilepress.errors import CodecError
from tilepress.workflows.bench.jpeg_streams import JpegChunk, jpeg_chunks

try:
    import lepton_jpeg_python as lepton
except ImportError:  # an extra of its own: pip install 'tilepress[jpeg-bench]'
    lepton = None

__all__ = ["JpegSizes", "main", "measure"]

_LINE = "{:<44} {:>10} {:>10} {:>7} {:>7} {:>7} {:>7} {:>6} {:>6}"


@dataclass
class JpegSizes:
    """Bytes and seconds of a file's chunks."""

    name: str
    file: int
    streams: int = 0
    """Streams with their shared tables, each table once a chunk."""
    ours: int = 0
    lepton: int = 0
    jpegxl: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)


def measure(path: Path, side: int, chunks: int | None) -> JpegSizes:
    """Code the first ``chunks`` chunks of a file in every way."""
    sizes = JpegSizes(path.name, path.stat().st_size)
    for chunk in itertools.islice(jpeg_chunks(path, side), chunks):
        try:
            _measure_chunk(chunk, sizes)
        except CodecError as error:
            sizes.refused.append(str(error))
    return sizes


def _measure_chunk(chunk: JpegChunk, sizes: JpegSizes) -> None:
    record = encode(chunk.streams, chunk.samples, grid=chunk.grid, tables=chunk.tables)
    codec = TileCodec(tier="fast")
    _timed(sizes, "samples", lambda: codec.decode(record))
    assert _timed(sizes, "ours", lambda: streams(record)) == chunk.streams
    sizes.ours += len(record)
    sizes.streams += len(chunk.tables) + sum(len(stream or b"") for stream in chunk.streams)
    for whole, bare in _whole(chunk):
        sizes.lepton += _lepton(whole, bare, sizes)
        sizes.jpegxl += _jpegxl(whole, bare)


def _timed(sizes: JpegSizes, what: str, read: Callable[[], object]) -> object:
    """Call twice, for the first call may compile; the quicker one counts."""
    best, result = float("inf"), None
    for _ in range(2):
        start = time.process_time()
        result = read()
        best = min(best, time.process_time() - start)
    sizes.seconds[what] = sizes.seconds.get(what, 0.0) + best
    return result


def _whole(chunk: JpegChunk) -> Iterator[tuple[bytes, int]]:
    """Yield each stream as a file of its own, and its bytes without the shared tables."""
    for stream in chunk.streams:
        if stream is not None:
            shared = bool(chunk.tables)
            yield (chunk.tables[:-2] + stream[2:] if shared else stream), len(stream)


def _lepton(whole: bytes, bare: int, sizes: JpegSizes) -> int:
    if lepton is None:
        return bare
    try:
        coded = lepton.compress_bytes(whole)
    except Exception:  # whatever a library raises: it does not take this stream
        return bare
    _timed(sizes, "lepton", lambda: lepton.decompress_bytes(coded))
    return len(coded)


def _jpegxl(whole: bytes, bare: int) -> int:
    try:
        return len(imagecodecs.jpegxl_encode_jpeg(whole))
    except Exception:  # as above
        return bare


def table(results: list[JpegSizes]) -> Iterator[str]:
    """Yield the lines of a table; shares are of the streams with their tables."""
    yield _LINE.format(
        "file", "bytes", "streams", "ours", "lepton", "jxl", "MB/s", "bytes", "lepton"
    )
    for one in results:
        if one.streams:
            yield _LINE.format(one.name[:44], one.file, one.streams, *_shares(one), *_speeds(one))
        for reason in sorted(set(one.refused)):
            yield f"{one.name[:44]:<44} refused {one.refused.count(reason)} chunks: {reason}"


def _shares(one: JpegSizes) -> list[str]:
    sizes = (one.ours, one.lepton if lepton else 0, one.jpegxl)
    return [f"{100 * (size / one.streams - 1):+.1f}%" if size else "–" for size in sizes]


def _speeds(one: JpegSizes) -> list[str]:
    """Return decoding to samples and to streams; Lepton's decoding to streams."""
    kinds = ("samples", "ours", "lepton")
    seconds = [one.seconds.get(kind, 0.0) for kind in kinds]
    return [f"{one.streams / 1e6 / s:.2f}" if s else "–" for s in seconds]


def main(arguments: list[str] | None = None) -> int:
    """Measure files, and write a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--chunks", type=int)
    given = parser.parse_args(arguments)
    results = [measure(path, given.side, given.chunks) for path in given.files]
    total = JpegSizes("all of them", sum(r.file for r in results))
    for one in results:
        total.streams += one.streams
        total.ours += one.ours
        total.lepton += one.lepton
        total.jpegxl += one.jpegxl
        for kind, seconds in one.seconds.items():
            total.seconds[kind] = total.seconds.get(kind, 0.0) + seconds
    sys.stdout.write("\n".join(table([*results, total])) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
