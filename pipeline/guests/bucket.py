"""An array in a bucket that a guest reads: what it asks for is fetched for it, out here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tilepress.errors import SourceError
from tilepress.pipeline.guests.source import GuestSource, Limit
from tilepress.pipeline.image.fingerprint import prefix_print
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.storage.below import MAX_WANTED, ObjectsBelow, Wanted

__all__ = ["BucketGuestSource"]

MAX_OFFSET = 2**53
"""Bytes of an object: more than any service takes."""


class BucketGuestSource(GuestSource):
    """A source of many objects below one address, read in a guest. Not thread-safe.

    The guest may read no file, and has neither network nor credentials. It names objects below the
    address, and parts of them, and gets their bytes. What it may use for a request grows with what
    was fetched for it, as that of others is by the size of their files.
    """

    def __init__(self, spec: SourceSpec, modules: Sequence[str]) -> None:
        """Open it; raises SourceError."""
        self._objects = _Counted(spec.paths[0])
        super().__init__(spec, modules, whole_folders=False)

    def fingerprint(self) -> dict[str, Any]:
        return prefix_print(self._spec.paths[0])

    def close(self) -> None:
        """End the guest: what lies in the bucket may be another array when it is opened again."""
        guest, self._guest = self._guest, None
        if guest is not None:
            guest.close()

    def _asked(
        self, request: dict[str, Any], limit: Limit, doing: str, file: int | None = None
    ) -> Any:  # noqa: ANN401  # data
        assert self._guest is not None, "begun before"
        objects = self._objects
        objects.fetched_bytes = 0
        path = self._spec.paths[0]
        return self._guest.ask(
            request,
            limit(0),
            doing,
            path,
            file=file,
            fetch=objects.fetch,
            grown=lambda: limit(objects.fetched_bytes),
        )


class _Counted:
    """Objects below an address, for who may ask for anything else."""

    def __init__(self, url: str) -> None:
        self._url, self._objects = url, ObjectsBelow(url)
        self.fetched_bytes = 0

    def fetch(self, *wanted: object) -> list[bytes | None]:
        """Return what is wanted; raises OSError, or SourceError where it can be none."""
        if not 0 < len(wanted) <= MAX_WANTED:
            raise self._nonsense()
        found = self._objects.fetch([self._checked(one) for one in wanted])
        self.fetched_bytes += sum(len(data) for data in found if data is not None)
        return found

    def _checked(self, wanted: object) -> Wanted:
        match wanted:
            case (str(key), int(start), int() | None as stop) if -MAX_OFFSET < start < MAX_OFFSET:
                if stop is None or 0 <= start < stop < MAX_OFFSET:
                    return key, start, stop
        raise self._nonsense()

    def _nonsense(self) -> SourceError:
        return SourceError(f"reading {self._url}: its reader asked for what no object has")
