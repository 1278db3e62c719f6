"""Read an image in a bucket, or in packed files, from copies on this machine."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.errors import SourceError, TilepressError, UnsupportedSource
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.info import ImageInfo
from tilepress.pipeline.image.names import stays_below
from tilepress.pipeline.image.objects import objects_of, root_of, without_pins
from tilepress.pipeline.image.source import LevelSource, SourceSpec, TileSource, read_level
from tilepress.pipeline.image.streams import Streams, StreamSource
from tilepress.pipeline.packed.unpack import download, look_up
from tilepress.pipeline.storage.copies import FETCHES, Copy
from tilepress.pipeline.storage.ranges import RemoteFile

__all__ = ["StagedSource"]


class StagedSource:
    """A source of objects in a bucket, or of packed files, read from copies on this machine."""

    def __init__(self, spec: SourceSpec, opener: Callable[[SourceSpec], TileSource]) -> None:
        """Fetch what is not here yet, and open it.

        Raises DamagedSource where an object is no longer the version that was discovered, and
        SourceError where it cannot be fetched or there is no room.
        """
        self._spec = spec
        files = _objects(spec)
        self._copy = Copy(files, download)
        try:
            self._renamed = _Renaming(self._copy.folder, root_of(spec))
            paths = tuple(map(str, self._copy.paths[: len(spec.paths)]))
            with self._renamed.errors():
                self._source = opener(replace(spec, paths=paths, options=without_pins(spec)))
        except BaseException:
            self._copy.close()
            raise

    @property
    def info(self) -> ImageInfo:
        return self._source.info

    @property
    def spec(self) -> SourceSpec:
        return self._spec

    def read(self, box: Box) -> npt.NDArray[Any]:
        with self._renamed.errors():
            return self._source.read(box)

    def read_level(self, level: int, box: Box) -> npt.NDArray[Any]:
        with self._renamed.errors():
            return read_level(self._source, level, box)

    def read_mask(self, box: Box) -> npt.NDArray[np.uint8]:
        with self._renamed.errors():
            return self._source.read_mask(box)

    def streams(self, box: Box) -> Streams | None:
        if not isinstance(self._source, StreamSource):
            return None
        with self._renamed.errors():
            return self._source.streams(box)

    def level_streams(self, level: int, box: Box) -> Streams | None:
        if not isinstance(self._source, LevelSource):
            return None
        with self._renamed.errors():
            return self._source.level_streams(level, box)

    def source_items(self) -> Iterator[tuple[str, bytes]]:
        with self._renamed.errors():
            yield from self._source.source_items()

    def fingerprint(self) -> dict[str, Any]:
        """Return the versions that the bucket has now, and what the copies' headers hash to."""
        with self._renamed.errors():
            content = self._renamed.names(self._source.fingerprint())
        with ThreadPoolExecutor(FETCHES) as pool:
            versions = list(pool.map(_present_version, _objects(self._spec)))
        return {"versions": versions, "content": content}

    def close(self) -> None:
        self._source.close()
        self._copy.close()


def _objects(spec: SourceSpec) -> list[tuple[str, RemoteFile]]:
    """Return every object of a source with its name below their common folder, images first."""
    files = objects_of(spec)
    if not all(stays_below(name) for name, _ in files):
        raise UnsupportedSource(f"opening {spec.paths[0]}: a name leaves the image's folder")
    return files


def _present_version(file: tuple[str, RemoteFile]) -> str:
    url = file[1].url
    try:
        return look_up(url).version
    except FileNotFoundError:
        return "absent"
    except OSError as error:
        raise SourceError(f"asking for {url}: {error.strerror}") from error


class _Renaming:
    """Names of objects in place of those of their copies."""

    def __init__(self, folder: Path, root: str) -> None:
        self._folder, self._root = f"{folder}/", root

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        try:
            yield
        except TilepressError as error:
            error.args = tuple(self.names(arg) for arg in error.args)
            raise

    def names(self, value: Any) -> Any:  # noqa: ANN401  # JSON
        """Return JSON with the objects' names, and without the copies' times."""
        if isinstance(value, str):
            return value.replace(self._folder, self._root)
        if isinstance(value, dict):
            kept = {k: v for k, v in value.items() if k != "mtime_ns"}
            return {self.names(k): self.names(v) for k, v in kept.items()}
        if isinstance(value, (list, tuple)):
            return [self.names(one) for one in value]
        return value
