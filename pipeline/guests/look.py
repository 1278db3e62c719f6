"""Look at files in guests: of what format they are, and which images they hold."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tilepress.errors import SourceError
from tilepress.pipeline import formats
from tilepress.pipeline.guests import budget, client
from tilepress.pipeline.guests.client import Guest
from tilepress.pipeline.image.format import Candidate, Certainty, FileImage, FileImages, Format
from tilepress.pipeline.image.names import scene_of, stays_below
from tilepress.pipeline.storage import ranges
from tilepress.pipeline.storage.path import is_url
from tilepress.pipeline.storage.regular import given

__all__ = ["Looks"]


MAX_LOOKS = 1000
"""Files that one guest looks at: one that was taken over can lie about those that come after."""

MAX_BEFORE_FOLDER = 100
"""Files that a guest may have looked at before it goes on with those of another folder."""


@dataclass(slots=True, eq=False)
class _Looker:
    """A guest that may open no file: it gets one after another, open."""

    guest: Guest
    modules: frozenset[str]
    looks: int = 0


class Looks:
    """Guests that look at files, one after another: a new one where one has died of a file.

    Several threads may ask at a time; each then has a guest of its own.
    """

    def __init__(self) -> None:
        self._free: list[_Looker] = []
        self._modules: frozenset[str] = frozenset()
        self._lock = threading.Lock()

    def look(self, file: Candidate) -> tuple[Format | None, FileImages]:
        """Return the format of a file, None where it is of none, and what it holds.

        A file of this machine is read through the descriptor of ``file.stream``. Raises SourceError
        or OSError.
        """
        likely = [one for one in formats.FORMATS if one.sniff(file) > Certainty.NONE]
        if not likely:
            return None, FileImages()
        file = _with_neighbours(file, likely)
        if any(one.is_opened_by_name(file) for one in likely):
            client.check_held_to_one_file(file.path)
            return _look_by_name(file, likely)
        if not client.are_possible():
            return _look_here(file)
        found, content = self._look(file, likely)
        if content.former and file.remote is None:  # taken over by its mark: can it be opened, too?
            return _look_by_name(replace(file, by_name=True), likely)
        return found, content

    def _look(self, file: Candidate, likely: Sequence[Format]) -> tuple[Format | None, FileImages]:
        """Look at a file in a guest that may open none."""
        looker = self._looker([name for one in likely for name in one.look_modules])
        try:
            request = _request(file)
            limit = budget.to_look(file.size)
            opened = None if is_url(file.path) else file.stream.fileno()
            answer = looker.guest.ask(
                request, limit, "opening", file.path, file=opened, fetch=_Fetch(file)
            )
        finally:
            self._give_back(looker)
        return _checked(answer, file, likely)

    def end_folder(self) -> None:
        """Go on with other files: with one guest, and none that has looked at many."""
        fresh = [one for one in self._free if one.looks < MAX_BEFORE_FOLDER][-1:]
        for looker in self._free:
            if looker not in fresh:
                looker.guest.close()
        self._free = fresh

    def close(self) -> None:
        while self._free:
            self._free.pop().guest.close()

    def _looker(self, modules: Sequence[str]) -> _Looker:
        with self._lock:
            fitting = (one for one in reversed(self._free) if one.modules.issuperset(modules))
            if (found := next(fitting, None)) is not None:
                self._free.remove(found)
                return found
            self._modules = self._modules.union(modules)
            wanted = self._modules
        return _Looker(Guest(sorted(wanted), []), wanted)

    def _give_back(self, looker: _Looker) -> None:
        looker.looks += 1
        if looker.looks >= MAX_LOOKS:
            looker.guest.close()
        if looker.guest.is_open:
            with self._lock:
                self._free.append(looker)


MAX_IMAGES = 2**16
"""Images of one file."""

MAX_VARIABLE = 1024
"""Letters of the name of one of them, with its groups."""

_ENDING = re.compile(r"(-[a-z]{1,16}[0-9]{1,8})?")
"""What the name of a file's image may end with: "-page12"."""

_TOLD = ("path", "size", "head", "remote", "neighbours", "drivers", "by_name")


def _request(file: Candidate) -> dict[str, Any]:
    return {"do": "look"} | {name: getattr(file, name) for name in _TOLD}


class _Fetch:
    """Reads bytes of the one object that a guest looks at."""

    def __init__(self, file: Candidate) -> None:
        self._file = file

    def __call__(self, *wanted: object) -> bytes:
        remote = self._file.remote
        match wanted:
            case (str(url), int(start), int(end)) if remote is not None and url == remote.url:
                if 0 <= start <= end <= remote.size:
                    return ranges.reader(remote).read(start, end - start)
        raise SourceError(f"opening {self._file.path}: its reader asked for other bytes")


def _look_by_name(file: Candidate, likely: Sequence[Format]) -> tuple[Format | None, FileImages]:
    """Look at a file in a guest of its own, which may open it by its path, and no other one."""
    modules = [name for one in likely for name in one.reader_modules([file.path])]
    guest = Guest(modules, [file.path])
    try:
        limit = budget.to_look(file.size)
        answer = guest.ask(_request(file), limit, "opening", file.path, file=file.stream.fileno())
    finally:
        guest.close()
    return _checked(answer, file, likely)


def _look_here(file: Candidate) -> tuple[Format | None, FileImages]:
    """Look at a file in this process; one in a packed file is at hand in another one."""
    if file.remote is None or is_url(file.path):
        return formats.look_at(replace(file, by_name=file.remote is None))
    with given(file.path, file.stream.fileno()):
        return formats.look_at(file)


def _with_neighbours(file: Candidate, likely: Sequence[Format]) -> Candidate:
    """Return the file with what lies beside it in its bucket, where its format wants that."""
    wanted = any(one.reads_beside for one in likely)
    if file.remote is None or file.neighbours is not None or not wanted:
        return file
    folder, _, name = file.remote.url.rpartition("/")
    return replace(file, neighbours=tuple(ranges.beginning_with(f"{folder}/{scene_of(name)}")))


def _checked(
    answer: object, file: Candidate, likely: Sequence[Format]
) -> tuple[Format | None, FileImages]:
    """Return what a guest says if it is about this file, and nothing that names another.

    The guest may be the file's by now. Names of stores, paths and objects are made of what it says.
    """
    match answer:
        case None:
            return None, FileImages()
        case (str(kind), FileImages() as content):
            format_ = next((one for one in likely if kind in one.kinds), None)
            if format_ is not None and _is_sound(content, format_, file):
                return format_, content
    raise SourceError(f"opening {file.path}: its reader answered nonsense")


def _is_sound(content: FileImages, format_: Format, file: Candidate) -> bool:
    if content.is_companion is not False:
        plain = FileImages(is_companion=True, references=content.references)
        return content.is_companion is True and content == plain and _are_texts(plain.references)
    known = set(file.neighbours or ())
    return (
        len(content.images) <= MAX_IMAGES
        and all(_is_sound_image(image, format_, file) for image in content.images)
        and type(content.others) is int
        and 0 <= content.others <= MAX_IMAGES
        and format_.is_sound_member(content.member, file)
        and all(companion in known for companion in content.companions)
        and _is_sound_former(content.former, file)
        and content.advice in (None, *formats.advices())
        and isinstance(content.problem, str | None)
        and _is_sound_grid(content.grid)
    )


def _is_sound_former(former: object, file: Candidate) -> bool:
    """Whether they are images that a file would be taken for."""
    return (
        isinstance(former, tuple)
        and len(former) <= MAX_IMAGES
        and all(
            any(_is_sound_image(one, format_, file) for format_ in formats.FORMATS)
            for one in former
        )
    )


def _are_sound_files(files: object) -> bool:
    """Whether they are names of files or folders that stay below a folder."""
    return (
        isinstance(files, tuple)
        and len(files) <= MAX_IMAGES
        and all(type(name) is str and stays_below(name) for name in files)
    )


def _is_sound_variable(image: FileImage, file: Candidate) -> bool:
    """Whether an image is one of a driver that was asked for, and named as one may be."""
    variable = image.options.get("variable", "")
    return (
        set(image.options) <= {"driver", "variable"}
        and image.options["driver"] in file.drivers
        and type(variable) is str
        and len(variable) <= MAX_VARIABLE
        and bool(variable) == bool(image.ending)
        and re.fullmatch(r"(-[A-Za-z0-9._-]{1,80})?", image.ending) is not None
    )


def _are_texts(references: object) -> bool:
    return isinstance(references, tuple) and all(type(one) is str for one in references)


def _is_sound_grid(grid: object) -> bool:
    """Whether words of a grid may stand in the name of a store."""
    return isinstance(grid, tuple) and all(
        isinstance(word, str) and re.fullmatch(r"[A-Za-z0-9.+-]{0,64}", word) for word in grid
    )


def _is_sound_option(value: object) -> bool:
    """Whether it is a number, as of a page, or those of several."""
    numbers = value if isinstance(value, list) and len(value) <= MAX_IMAGES else [value]
    return all(type(number) is int for number in numbers)


def _is_sound_image(image: object, format_: Format, file: Candidate) -> bool:
    if not isinstance(image, FileImage) or image.kind not in format_.kinds:
        return False
    if "driver" in image.options:
        return _is_sound_variable(image, file)
    return (
        isinstance(image.ending, str)
        and _ENDING.fullmatch(image.ending) is not None
        and set(image.options) <= {"page", "pages", "beside"}
        and all(_is_sound_option(value) for value in image.options.values())
        and type(image.is_slide) is bool
        and _are_sound_files(image.files)
    )
