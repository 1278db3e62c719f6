"""What a caller asked for: sources, destination and options of coding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tilepress.errors import UsageError
from tilepress.pipeline.archive.destination import Destination
from tilepress.pipeline.archive.options import CodingOptions, EncodeOptions
from tilepress.pipeline.find.choose import Choice
from tilepress.pipeline.find.inputs import absolute
from tilepress.pipeline.find.others import Keep, check_keep
from tilepress.pipeline.find.stacks import Stacks
from tilepress.pipeline.storage.path import StoragePath, storage_path
from tilepress.workflows.environment import check_interpreter
from tilepress.workflows.report.report import RunDescription
from tilepress.workflows.unguarded import end_if_unguarded

__all__ = ["CompressRequest", "PathLike"]

PathLike = str | Path | StoragePath


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressRequest:
    """Images to compress, where to, and how."""

    sources: list[str | Path]
    destination: Destination
    stack: Stacks
    """Pattern of single-band files that make one image together."""
    options: EncodeOptions
    keep: Keep = "known"
    """Which files that are no images an archive keeps."""
    choice: Choice = field(default_factory=Choice)
    """Which files of the sources are meant."""
    skip_larger: int | None = None
    """Bytes of files above which an image is left out."""

    @classmethod
    def of(
        cls,
        sources: PathLike | Sequence[PathLike],
        destination: PathLike,
        stack: Stacks,
        coding: CodingOptions,
        *,
        keep: str = "known",
        include: str | Sequence[str] = (),
        exclude: str | Sequence[str] = (),
        driver: str | Sequence[str] = (),
        skip_larger: int | None = None,
    ) -> CompressRequest:
        """Return the request of a call; raise UsageError where it names nothing."""
        end_if_unguarded()
        check_interpreter()
        if not str(destination).strip():
            raise UsageError("compressing: the destination is empty")
        return cls(
            sources=_paths(sources),
            destination=Destination(storage_path(destination)),
            stack=stack,
            options=EncodeOptions.of(coding),
            keep=check_keep(keep),
            choice=Choice.of(include, exclude, driver),
            skip_larger=skip_larger,
        )

    def describe(self, **others: object) -> RunDescription:
        """Return what a report says of the run; ``others`` are further options."""
        destination = {"destination": str(self.destination.path)}
        return RunDescription.now(self.to_json() | destination | others)

    def to_json(self) -> dict[str, Any]:
        """Return what the parts of one plan must agree on."""
        return {
            "sources": [absolute(source) for source in self.sources],
            "stack": self.stack if isinstance(self.stack, str | None) else list(self.stack),
            "keep": self.keep,
            "include": list(self.choice.include),
            "exclude": list(self.choice.exclude),
            "skip_larger": self.skip_larger,
            **({"driver": list(self.choice.drivers)} if self.choice.drivers else {}),
            **self.options.to_json(),
        }


def _paths(sources: PathLike | Sequence[PathLike]) -> list[str | Path]:
    given = (
        list(sources)
        if isinstance(sources, Sequence) and not isinstance(sources, str)
        else [sources]
    )
    paths = [one if isinstance(one, (str, Path)) else str(one) for one in given]
    if not paths:
        raise UsageError("compressing: no sources were given")
    return paths
