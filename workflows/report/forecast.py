"""What a run would do, and about how large and how long that would be."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from tilepress.pipeline.storage.text import clock, compared, grouped, size

__all__ = ["Forecast"]


@dataclass(slots=True, kw_only=True)
class Forecast:
    """Counts of a dry run; the last four are an estimate from a sample of the tiles."""

    new: int = 0
    """Images without a store."""
    begun: int = 0
    """Images whose store was begun: the run goes on with it."""
    replaced: int = 0
    """Images whose store replaces another one."""
    unchanged: int = 0
    files: int = 0
    """Files of the images that are to be written."""
    file_bytes: int = 0
    raw_bytes: int = 0
    stored_bytes: int | None = None
    """Bytes of their stores; None where nothing could be sampled."""
    seconds: float | None = None
    workers: int = 1
    """Processors that the time is for."""
    sampled_images: int = 0
    sampled_bytes: int = 0

    @property
    def to_write(self) -> int:
        return self.new + self.begun + self.replaced

    def lines(self, failed: int, excluded: int) -> list[str]:
        """Return what to say at the end."""
        counts = [f"{grouped(self.to_write)} to write"]
        counts += [f"{grouped(self.replaced)} of them replaced"] if self.replaced else []
        counts += [f"{grouped(self.begun)} of them begun"] if self.begun else []
        counts += [f"{grouped(self.unchanged)} unchanged"]
        counts += [f"{grouped(excluded)} left out"] if excluded else []
        counts += [f"{grouped(failed)} failed"]
        lines = [f"nothing was written: {', '.join(counts)}"]
        if not self.to_write:
            return lines
        files = "1 file" if self.files == 1 else f"{grouped(self.files)} files"
        lines.append(f"{size(self.raw_bytes)} of samples in {files} of {size(self.file_bytes)}")
        if self.stored_bytes is not None and self.seconds is not None:
            of = compared(self.raw_bytes, self.stored_bytes, self.file_bytes, of="files")
            images = "1 image" if self.sampled_images == 1 else f"{self.sampled_images} images"
            tried = f"{size(self.sampled_bytes)} of {images}"
            many = "" if self.workers == 1 else f" with {self.workers} processors"
            lines.append(f"about {of}, {clock(self.seconds)}{many}: from coding {tried}")
        return lines

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "to_write": self.to_write}
