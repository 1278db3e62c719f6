"""Put the images of a run into groups, one task each: a large image, or some small ones.

Three tasks for each small image would cost more than the images do. But a group that takes long
would have one worker work, and the others wait, at the end of a run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from tilepress.pipeline.archive.destination import Destination
from tilepress.pipeline.archive.images import Todo
from tilepress.pipeline.find.told import path_and_page
from tilepress.workflows.run.claims import Claims

__all__ = ["GROUP_BYTES", "GROUP_IMAGES", "Groups"]

GROUP_IMAGES = 32
"""Small images that one task plans, and writes, at most."""

GROUP_BYTES = 16 * 2**20
"""Bytes of source files that such a group has at most; a larger file is a group of its own."""

GROUP_S = 1.0
"""Seconds that such a group should take: long beside what a task costs, and short enough that no
worker waits long for another one's last group."""

PACE_IMAGES = 32
"""Images that the pace is taken over: those that are there already go faster than new ones."""

GROUPS_PER_SLOT = 4
"""How often every worker should get a group before groups grow: few images are spread out."""

_HIDDEN = "\0"
"""Before the name of an image that is not to be told; no path has it."""


class Groups:
    """The images of a run as groups; an image whose store another one has is told of that one."""

    def __init__(self, todos: Iterator[Todo], destination: Destination) -> None:
        self._todos = todos
        self._destination = destination
        self._claims = Claims()
        self._pace = _Pace()
        self._made = 0
        self._next: Todo | None = None
        """The image that was looked at and found not to fit into the group before."""
        self.all_taken = False
        """Whether no image is left: known as soon as the last one has been taken."""

    def next_group(self, slots: int) -> tuple[Todo, ...]:
        """Take the next images, for one of ``slots`` workers; none where none is left."""
        limit = max(1, min(GROUP_IMAGES, self._made // (GROUPS_PER_SLOT * slots)))
        most = min(GROUP_BYTES, self._pace.size_for(GROUP_S))
        group: list[Todo] = []
        total = 0
        while len(group) < limit:
            todo = self._next or self._take()
            self._next = None
            if todo is None:
                break
            total += todo.spec.source_bytes or 0
            if group and total > most:
                self._next = todo
                break
            group.append(todo)
        if self._next is None:
            self._next = self._take()
        self._made += 1
        return tuple(group)

    def note_time(self, todo: Todo, seconds: float) -> None:
        """Learn from how long a small image took."""
        if todo.spec.source_bytes is not None:
            self._pace.add(seconds, todo.spec.source_bytes)

    def _take(self) -> Todo | None:
        """Take the next image that was not named before."""
        if self.all_taken:
            return None
        for todo in self._todos:
            store = str(self._destination.store_of(todo.spec))
            image = _name(todo)
            claimed_by = self._claims.claim(store, image)
            if claimed_by is None:
                return todo
            if claimed_by != image:
                rival = "another series" if claimed_by.startswith(_HIDDEN) else claimed_by
                return replace(todo, rival=rival)
        self.all_taken = True
        return None


class _Pace:
    """How fast the latest small images went."""

    def __init__(self) -> None:
        self._seconds = self._size = 0.0

    def add(self, seconds: float, size: int) -> None:
        keep = 1 - 1 / PACE_IMAGES
        self._seconds = self._seconds * keep + seconds
        self._size = self._size * keep + size

    def size_for(self, seconds: float) -> float:
        """Return how many bytes of files take so long; infinite while nothing took any time."""
        return seconds * self._size / self._seconds if self._seconds > 0 else math.inf


def _name(todo: Todo) -> str:
    """Return what tells an image from any other: its first file, and the page."""
    if todo.label is not None:
        return _HIDDEN + todo.spec.paths[0]
    return path_and_page(todo.spec)
