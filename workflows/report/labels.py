"""Give names to sources that may be called after patients, and keep a table of what they stand for.

    message   reading a DICOM header: …, in file 7 of CT-0123456789ab.zarr
    table     {"store":"CT-0123456789ab.zarr","folder":"/archive/DOE^JANE","files":["1.dcm", …]}
    message   opening file #48213057: it is not an image that tilepress takes
    table     {"number":48213057,"path":"/archive/DOE^JANE/notes"}

The table is a file that only its owner may read: beside the report, or in the archive's private
folder. It is of the last run alone, and is not made where nothing had to be named.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import tempfile
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from tilepress.errors import SourceError, UsageError
from tilepress.pipeline import formats
from tilepress.pipeline.archive.destination import Destination
from tilepress.pipeline.archive.private import make_private, private_folder
from tilepress.pipeline.find.walk import Failure
from tilepress.pipeline.image.names import below_common_folder
from tilepress.pipeline.image.private_names import PRIVATE, without_paths
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.privacy.recipe import is_deidentified
from tilepress.pipeline.storage.atomic import partial_of
from tilepress.pipeline.storage.local import FolderPath
from tilepress.pipeline.storage.retry import retried

__all__ = ["Labels"]

NUMBERS = 10**8
"""Numbers of files are below this."""


class Labels:
    """Names sources in one run; a context, at whose end the table is complete.

    Parameters
    ----------
    destination :
        whose private folder takes the table where there is no report
    report :
        file of the report, beside which the table is written
    part :
        what tells the tables of runs that go on at the same time apart; "" for none
    show_paths :
        whether paths are told as they are: then there is no table
    table :
        whether to write a table; without it nobody learns what numbers stand for
    """

    def __init__(
        self,
        destination: Destination,
        report: Path | None = None,
        part: str = "",
        *,
        show_paths: bool = False,
        table: bool = True,
    ) -> None:
        self._destination, self._show, self._has_table = destination, show_paths, table
        store = f"-{destination.path.name}" if destination.is_store else ""
        self._object = private_folder(destination.folder) / f"paths{store}{part}.jsonl"
        self._beside = None if report is None else report.with_name(f"{report.name}.paths.jsonl")
        self._secret = secrets.token_bytes(16)
        self._file: BinaryIO | None = None

    def of_image(self, spec: SourceSpec) -> str | None:
        """Return what an image is called; None where its own name may be told."""
        if self._show:
            return None
        if not is_deidentified(spec):
            if spec.options.get(PRIVATE):
                return self._numbered(spec.paths[0])
            if not formats.has_private_names(spec.kind):
                return None
        store = self._destination.store_of(spec).name
        files = below_common_folder(spec.paths)
        folder = spec.paths[0].removesuffix(files[0]).removesuffix("/")
        self._note({"store": store, "folder": folder, "files": files})
        return store

    def of_failure(self, failure: Failure) -> tuple[str, SourceError]:
        """Return what an input is called that is no image, and why it is none."""
        if self._show or not failure.private:
            return failure.path, failure.error
        name = self._numbered(failure.path)
        text = without_paths(str(failure.error), [failure.path], [name])
        return name, type(failure.error)(text)

    def _numbered(self, path: str) -> str:
        number = self._number(path)
        self._note({"number": number, "path": path})
        return f"file #{number:08}"

    def _number(self, path: str) -> int:
        digest = hmac.new(self._secret, path.encode("utf-8", "replace"), hashlib.sha256).digest()
        return int.from_bytes(digest[:8], "big") % NUMBERS

    def _note(self, row: dict[str, object]) -> None:
        if not self._has_table:
            return
        if self._file is None:
            self._file = self._open()
        self._file.write(json.dumps(row, separators=(",", ":")).encode("ascii") + b"\n")
        self._file.flush()  # a run that is killed has told of it already

    def _open(self) -> BinaryIO:
        """Open the table, empty, for its owner alone."""
        path = self._beside
        try:
            if path is None and not isinstance(self._object, FolderPath):
                return tempfile.TemporaryFile()
            if path is None:
                make_private(self._object.parent)
                path = Path(str(self._object))
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = partial_of(path)
            handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            os.replace(partial, path)  # what was there may be open to others, or be a link
        except OSError as error:
            text = error.strerror or type(error).__name__
            raise UsageError(
                f"writing the table of paths to {path or self._object}: {text}; it says which "
                "files are meant, as their names may be those of patients (--show-paths tells "
                "them and needs no table)"
            ) from error
        return os.fdopen(handle, "wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        file, self._file = self._file, None
        if file is None:
            return
        with file:
            if self._beside is None and not isinstance(self._object, FolderPath):
                file.seek(0)
                data = file.read()
                retried(lambda: self._object.write(data))
