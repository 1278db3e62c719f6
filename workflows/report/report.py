"""What a run did: one result per image, one line per failure."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from tilepress.pipeline.archive.outcome import ImageFailure, ImageResult
from tilepress.pipeline.archive.stages import Stages
from tilepress.pipeline.find.choose import EXCLUDED
from tilepress.pipeline.guests import client as guests
from tilepress.pipeline.packed.member import LeftOut
from tilepress.pipeline.storage.text import compared, size
from tilepress.workflows.report.forecast import Forecast
from tilepress.workflows.report.losses import Losses
from tilepress.workflows.report.report_file import (
    check_writable_file,
    check_writable_report,
    write_report,
)
from tilepress.workflows.report.spool import Spool

__all__ = [
    "REPORT_VERSION",
    "KeptFiles",
    "Report",
    "RunDescription",
    "check_writable_file",
    "check_writable_report",
    "timestamp",
    "without_credentials",
]

REPORT_VERSION = 4
"""Of the JSON. 2 added ``run``, the counts, ``stages``, ``interrupted`` and ``passed_over``, 3
sizes of files, 4 ``kept``; nothing was changed or removed."""

SECRET_NAME = re.compile(r"token|secret|passw|credential|api_?key|access_?key", re.IGNORECASE)
"""Names of options whose values are never told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDescription:
    """What was asked for, and when."""

    started: str
    """RFC 3339, UTC."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the command by name; credentials are not told."""

    @classmethod
    def now(cls, options: Mapping[str, Any]) -> RunDescription:
        """Return the description of a run that begins now."""
        return cls(started=timestamp(), options=without_credentials(options))

    def to_json(self) -> dict[str, Any]:
        """Return the description as JSON-able values."""
        import tilepress

        return {
            "tilepress": tilepress.__version__,
            "started": self.started,
            "options": dict(self.options),
            "guests": guests.held_by(),
        }


class _Images(Spool[ImageResult]):
    """The results, and what they add up to."""

    def __init__(self) -> None:
        super().__init__(_dump_image, _load_image)
        self.raw_bytes = 0
        self.stored_bytes = 0
        self.written = 0
        self.file_bytes: int | None = 0
        self.lossy = Losses()
        self.larger = 0
        self.larger_bytes = 0

    def append(self, entry: ImageResult) -> None:
        super().append(entry)
        self.raw_bytes += entry.raw_bytes
        self.stored_bytes += entry.stored_bytes
        self.written += entry.status == "written"
        if entry.loss is not None:
            self.lossy.add(entry.loss)
        if entry.file_bytes is None:
            self.file_bytes = None
            return
        if self.file_bytes is not None:
            self.file_bytes += entry.file_bytes
        if entry.stored_bytes > entry.file_bytes:
            self.larger += 1
            self.larger_bytes += entry.stored_bytes - entry.file_bytes


@dataclass(slots=True)
class KeptFiles:
    """What a run kept of files that are no images."""

    kinds: Counter[str] = field(default_factory=Counter)
    """Files by their ending, "" for endings that are not usual."""
    bytes: int = 0
    written: int = 0
    """Files that were not there before as they are now."""

    @property
    def files(self) -> int:
        return sum(self.kinds.values())

    @property
    def text(self) -> str:
        """E.g. "kept 13 files that are no images (1.2 MB, 3 new): .txt 9, .xml 4"; or ""."""
        if not self.files:
            return ""
        new = "unchanged" if not self.written else f"{self.written} new"
        new = "" if self.written == self.files else f", {new}"
        return f"kept {_of_kinds(self.kinds, f' ({size(self.bytes)}{new})')}"

    def to_json(self) -> dict[str, Any]:
        return {
            "files": self.files,
            "bytes": self.bytes,
            "written": self.written,
            "unchanged": self.files - self.written,
            "kinds": dict(sorted(self.kinds.items())),
        }


def _of_kinds(kinds: Mapping[str, int], more: str = "") -> str:
    """Return e.g. "14 files that are no images: .txt 9, .xml 4, others 1"."""
    count = sum(kinds.values())
    ordered = sorted(kinds.items(), key=lambda one: (not one[0], -one[1], one[0]))
    listed = ", ".join(f"{kind or 'others'} {number}" for kind, number in ordered)
    files = "1 file that is no image" if count == 1 else f"{count} files that are no images"
    return f"{files}{more}: {listed}"


def _failures() -> Spool[ImageFailure]:
    return Spool(
        lambda failure: json.dumps(failure.to_json()),
        lambda text: ImageFailure(**json.loads(text)),
    )


@dataclass(slots=True, kw_only=True)
class Report:
    """The outcome of one run. Its lists keep on disk what is beyond a few thousand entries."""

    images: _Images = field(default_factory=_Images)
    """Every image that is sealed now, an ``ImageResult`` each, in the order they were finished."""
    failures: Spool[ImageFailure] = field(default_factory=_failures)
    """Every input that failed."""
    absent: int = 0
    """How many of these named nothing: no file, or a pattern that matched no image."""
    excluded: Spool[ImageFailure] = field(default_factory=_failures)
    """Every image that was left out on purpose: labels of slides where images are de-identified."""
    seconds: float = 0.0
    stages: Stages = field(default_factory=Stages)
    """Where the time of workers went; the run adds it up, work that failed included."""
    shared: int = 0
    """Images of which this run wrote its part and did not seal."""
    interrupted: bool = False
    """Whether the run was stopped: before every input was done, or before the catalogue was."""
    passed_over: Mapping[str, int] = field(default_factory=dict)
    """Files of searched folders that are no images and were not kept, by ending; "" for endings
    that are not usual."""
    kept: KeptFiles = field(default_factory=KeptFiles)
    """Files that are no images and lie in the archive now."""
    run: RunDescription | None = None
    forecast: Forecast | None = None
    """Of a dry run: what would be done. Nothing was written then; ``kept`` is what would be."""

    @property
    def ok(self) -> bool:
        """Whether every input is now a sealed store."""
        return not self.failures and not self.interrupted

    @property
    def written(self) -> int:
        """Images that this run sealed."""
        return self.images.written

    @property
    def unchanged(self) -> int:
        """Images whose stores were there already."""
        return len(self.images) - self.images.written

    @property
    def passed_over_text(self) -> str:
        """E.g. "left out 14 files that are no images: .txt 9, .xml 4, others 1"; or ""."""
        excluded = self.passed_over.get(EXCLUDED, 0)
        older = self.passed_over.get(LeftOut.OLDER.value, 0)
        counted = (EXCLUDED, LeftOut.OLDER.value)
        others = {k: n for k, n in self.passed_over.items() if n and k not in counted}
        parts = [f"left out {_of_kinds(others)}"] if others else []
        if older:
            what = "an older file" if older == 1 else f"{older} older files"
            parts.append(f"left out {what} of packed files that hold a newer one of the name")
        if excluded:
            files = "1 file" if excluded == 1 else f"{excluded} files"
            parts.append(f"left out {files} by --include and --exclude")
        return "; ".join(parts)

    @property
    def raw_bytes(self) -> int:
        return self.images.raw_bytes

    @property
    def stored_bytes(self) -> int:
        return self.images.stored_bytes

    @property
    def ratio(self) -> float:
        """Samples against stores."""
        return self.raw_bytes / max(1, self.stored_bytes)

    @property
    def file_bytes(self) -> int | None:
        """Bytes of the files that the images were made of; None where some were not looked at."""
        return self.images.file_bytes

    @property
    def file_ratio(self) -> float | None:
        """Files against stores: below 1 where the archive takes more than they did."""
        return None if self.file_bytes is None else self.file_bytes / max(1, self.stored_bytes)

    @property
    def sizes_text(self) -> str:
        """E.g. "3.4 GB → 1.2 GB (ratio 2.83; files 1.5 GB, ratio 1.25)"."""
        return compared(self.raw_bytes, self.stored_bytes, self.file_bytes, of="files")

    @property
    def loss_text(self) -> str:
        """What to say of images that were coded lossily, or ""."""
        return self.images.lossy.text

    @property
    def larger_text(self) -> str:
        """What to say of stores that are larger than their files, or ""."""
        count = self.images.larger
        if not count:
            return ""
        stores = "1 store is larger than its file" if count == 1 else (
            f"{count} stores are larger than their files"
        )  # fmt: skip
        return f"{stores}, by {size(self.images.larger_bytes)}: see file_ratio in the report"

    def __repr__(self) -> str:
        from tilepress.workflows.report.page import text_of

        return text_of(self)

    def _repr_html_(self) -> str:
        """Return the report as notebooks show it."""
        from tilepress.workflows.report.page import html_of

        return html_of(self)

    def to_json(self) -> dict[str, Any]:
        """Return the whole report as JSON-able values, in memory; ``write`` streams it."""
        return {
            **self._head(),
            "images": [image.to_json() for image in self.images],
            "failures": [failure.to_json() for failure in self.failures],
            **({"excluded": [one.to_json() for one in self.excluded]} if self.excluded else {}),
        }

    def write(self, path: Path) -> None:
        """Write the report as JSON, whole or not at all, without holding it in memory.

        What is no file, e.g. /dev/stdout or a pipe, is written to directly.
        """
        write_report(path, self._write_to)

    def _head(self) -> dict[str, Any]:
        return {
            "version": REPORT_VERSION,
            "run": self.run.to_json() if self.run is not None else None,
            "ok": self.ok,
            "interrupted": self.interrupted,
            "seconds": round(self.seconds, 3),
            "raw_bytes": self.raw_bytes,
            "stored_bytes": self.stored_bytes,
            "ratio": round(self.ratio, 4),
            "file_bytes": self.file_bytes,
            "file_ratio": None if self.file_ratio is None else round(self.file_ratio, 4),
            "larger_than_files": self.images.larger,
            **({"lossy": self.images.lossy.to_json()} if self.images.lossy.count else {}),
            "written": self.written,
            "unchanged": self.unchanged,
            "shared": self.shared,
            "failed": len(self.failures),
            "passed_over": dict(sorted(self.passed_over.items())),
            "kept": self.kept.to_json(),
            **({} if self.forecast is None else {"dry_run": self.forecast.to_json()}),
            "stages": self.stages.to_json(),
        }

    def _write_to(self, file: TextIO) -> None:
        """Write one line per image and per failure, so that text tools can search a long one."""
        head = json.dumps(self._head(), indent=2, default=str)
        file.write(head.removesuffix("\n}") + ",\n")
        _write_list(file, "images", (image.to_json() for image in self.images))
        file.write(",\n")
        _write_list(file, "failures", (failure.to_json() for failure in self.failures))
        if self.excluded:
            file.write(",\n")
            _write_list(file, "excluded", (one.to_json() for one in self.excluded))
        file.write("\n}\n")


def without_credentials(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as JSON-able values: no secrets, no user names or queries in addresses."""
    return {name: _public(value) for name, value in options.items() if not SECRET_NAME.search(name)}


def timestamp() -> str:
    """Return the time in UTC as RFC 3339 has it, e.g. "2026-11-23T00:47:21.052Z"."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _public(value: object) -> object:
    if isinstance(value, Mapping):
        return without_credentials({str(name): inner for name, inner in value.items()})
    if isinstance(value, (list, tuple)):
        return [_public(inner) for inner in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    text = re.sub(r"(:/+)[^/@\s]*@", r"\1", str(value))  # a path has one slash of two
    return re.sub(r"(:/[^?#\s]*)[?#][^/=\s]*=\S*", r"\1", text)


def _dump_image(image: ImageResult) -> str:
    """Return text from which ``_load_image`` makes the same result."""
    stages = None
    if image.stages is not None:  # unrounded, unlike to_json()
        stages = asdict(image.stages)
    return json.dumps({**asdict(image), "stages": stages})


def _load_image(text: str) -> ImageResult:
    values = json.loads(text)
    stages = values.pop("stages")
    for name in _TUPLES:
        values[name] = tuple(values[name])
    return ImageResult(**values, stages=None if stages is None else Stages(**stages))


_TUPLES = [f.name for f in fields(ImageResult) if str(f.type).startswith("tuple")]


def _write_list(file: TextIO, name: str, values: Iterator[dict[str, Any]]) -> None:
    file.write(f'  "{name}": [')
    mark = "\n"
    for value in values:
        file.write(f"{mark}    {json.dumps(value)}")
        mark = ",\n"
    file.write("]" if mark == "\n" else "\n  ]")
