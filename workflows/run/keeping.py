"""Keep the files of a run that are no images beside the stores of its archive."""

from __future__ import annotations

import itertools
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from tilepress.errors import NO_ROOM, SourceError, describe_error
from tilepress.pipeline.archive.destination import Destination
from tilepress.pipeline.archive.outcome import ImageFailure
from tilepress.pipeline.find.others import OtherFile
from tilepress.pipeline.find.walk import Failure, printable_name
from tilepress.pipeline.kept.index import FolderIndex
from tilepress.pipeline.kept.keep import Kept, keep_folder
from tilepress.workflows.report.labels import Labels
from tilepress.workflows.report.report import Report
from tilepress.workflows.report.telling import Failed, FilesKept, Progress
from tilepress.workflows.run.driver import NoRoom
from tilepress.workflows.run.images import pseudonyms_of

__all__ = ["Keeping", "by_folder"]

COPIERS = 8
"""Folders whose files are copied at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """What the keeping of files in one run needs; folders are kept beside each other."""

    destination: Destination
    report: Report
    passed_over: Counter[str]
    """Where files are counted that are left out."""
    labels: Labels
    progress: Progress
    force: bool = False
    checksum: bool = False
    dry: bool = False
    """Whether nothing is written, and what would be is counted."""

    def keep(self, folders: Iterable[Sequence[OtherFile]]) -> None:
        """Keep the files; those of one folder come together.

        Raises NoRoom where the archive takes nothing more.
        """
        stopped = threading.Event()
        pool = ThreadPoolExecutor(COPIERS, thread_name_prefix="tilepress-keep")
        waiting: deque[Future[list[Kept]]] = deque()
        try:
            for files in self._not_our_own(folders):
                waiting.append(pool.submit(self._keep_folder, files, stopped.is_set))
                if len(waiting) > 2 * COPIERS:
                    self.count(waiting.popleft().result())
            while waiting:
                self.count(waiting.popleft().result())
        except OSError as error:
            if describe_error(error)[0] != NO_ROOM:
                raise
            raise NoRoom(
                f"writing into {self.destination.path}: {error.strerror}; make room and run the "
                "same line again to go on"
            ) from error
        finally:
            stopped.set()  # an interrupt waits for no folder of thousands
            pool.shutdown(cancel_futures=True)
        kept = self.report.kept
        if kept.files:
            self.progress.tell(FilesKept(kept.files, kept.bytes, kept.written))

    def _keep_folder(self, files: Sequence[OtherFile], stop: Callable[[], bool]) -> list[Kept]:
        return keep_folder(
            self.destination.path,
            files,
            pseudonyms_of(self.destination, dry=self.dry),
            force=self.force,
            checksum=self.checksum,
            dry=self.dry,
            stop=stop,
        )

    def _not_our_own(self, folders: Iterable[Sequence[OtherFile]]) -> Iterator[Sequence[OtherFile]]:
        """Leave out what lies in the destination, which may be inside a source folder."""
        for files in folders:
            known: dict[str, FolderIndex] = {}
            mine = [file for file in files if not self._is_our_own(file.file.path, known)]
            if mine:
                yield mine

    def _is_our_own(self, path: str, known: dict[str, FolderIndex]) -> bool:
        return self.destination.holds(path, known)

    def count(self, done: Sequence[Kept]) -> None:
        """Add to the report what became of files."""
        kept = self.report.kept
        for one in done:
            if one.status == "failed":
                self._fail(one)
            elif one.status == "left out":
                self.passed_over[one.reason] += 1
            else:
                kept.kinds[one.file.kind] += 1
                kept.bytes += one.bytes
                kept.written += one.status == "written"

    def _fail(self, one: Kept) -> None:
        path = printable_name(one.file.file.path)
        error = SourceError(f"keeping {path}: {one.reason}")
        source, told = self.labels.of_failure(Failure(path, error, private=one.file.private))
        failure = ImageFailure(source=source, kind=one.error_kind, message=str(told))
        self.report.failures.append(failure)
        self.progress.tell(Failed(failure, listed=0))


def by_folder(files: Iterable[OtherFile]) -> Iterator[Sequence[OtherFile]]:
    """Yield files that come in the order of their folders, those of one folder together."""
    for _, group in itertools.groupby(files, key=lambda file: file.folder):
        yield list(group)
