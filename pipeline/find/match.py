"""Find the image that a store was made of among files and folders."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from tilepress.errors import NoSuchSource, SourceError, UsageError
from tilepress.pipeline import formats
from tilepress.pipeline.find.choose import ALL, Choice
from tilepress.pipeline.find.discover import discover, store_path
from tilepress.pipeline.find.former_pages import as_taken_before
from tilepress.pipeline.find.others import OtherFiles
from tilepress.pipeline.find.stacks import STACKED, Stacks
from tilepress.pipeline.find.told import path_and_page, told_error, told_failure, told_name
from tilepress.pipeline.find.walk import Failure, printable_name
from tilepress.pipeline.image.format import FoundImages
from tilepress.pipeline.image.objects import file_names_of
from tilepress.pipeline.image.pseudonyms import UNKEYED, PseudonymsOf
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.privacy.recipe import DEIDENTIFIED, as_it_was, renamed
from tilepress.pipeline.storage.path import AnyPath, StoragePath, storage_path
from tilepress.pipeline.store.reader import StoreReader

__all__ = ["SourceFinder"]


class SourceFinder:
    """Finds the image that a store was made of among those in ``paths``.

    ``paths`` are whatever ``discover`` takes. With ``archive``, a store is that of the image that
    compressing ``paths`` into this folder would put there. Without it, the only image of the
    store's kind is taken, or the one of its name. The recipe of a store that was de-identified asks
    for the same again, with the key that lies in ``key_folder``. ``others`` gathers the files that
    are no images, ``choice`` says which files are meant.
    """

    def __init__(
        self,
        paths: Sequence[Path | str],
        *,
        stack: Stacks = None,
        archive: AnyPath | None = None,
        doing: str = "verifying",
        pseudonyms: PseudonymsOf = lambda: UNKEYED,
        key_folder: StoragePath | None = None,
        show_paths: bool = False,
        others: OtherFiles | None = None,
        choice: Choice = ALL,
    ) -> None:
        self._show_paths = show_paths
        self._pseudonyms, self._key_folder = pseudonyms, key_folder
        self._chosen: SourceSpec | None = None
        self._archive = None if archive is None else storage_path(archive)
        self._doing = doing
        self._specs: list[SourceSpec] = []
        self._by_store: dict[str, list[SourceSpec]] = {}
        self._failures: list[Failure] = []
        found = discover(paths, stack, pseudonyms=pseudonyms, others=others, choice=choice)
        for item in found:
            if isinstance(item, Failure):
                self._failures.append(item)
            else:
                for spec in self._as_taken_before(item):
                    self._specs.append(spec)
                    self._by_store.setdefault(_store_key(spec), []).append(spec)
        self._found = FoundImages(self._specs)
        self._paths = list(paths)
        self._text = ", ".join(map(str, paths))
        self._used: set[tuple[str, int | str | None]] = set()

    def find(self, store: AnyPath, origin: Mapping[str, Any] | None = None) -> SourceSpec:
        """Return the image of ``store``; ``origin`` is what the store says of it, if that is known.

        Raises UsageError where there is none, or more than one; SourceError where all that was
        found cannot be read; DamagedStore where the store does not tell what it was made of.
        """
        where = storage_path(store)
        origin = StoreReader.open(where).origin if origin is None else origin
        kind = str(origin["kind"])
        how = origin.get(DEIDENTIFIED)
        specs = list(self._found.of_kind(kind)) or self._formerly(kind)
        if self._archive is not None:
            specs = [spec for spec in self._stored_at(where) if spec.kind == kind]
        elif how is not None:
            specs += [one for one in self._called_by_key(where) if one.kind == kind]
        format_ = formats.format_of_kind(kind)
        if format_ is not None:
            specs = format_.find_again(origin, specs, self._found)
        chosen = self._choose(where, specs) or self._same_files(where, origin)
        if chosen is not None and self._key_folder is not None:
            chosen = as_it_was(chosen, how, self._key_folder)
        self._chosen = chosen
        if chosen is not None:
            self._used.update(_images(chosen))
            return chosen
        if self._failures and not self._specs:
            raise self._told(self._failures[0])[1]
        if self._archive is not None and not specs:
            raise UsageError(
                f"{self._doing} {where}: no image in {self._text} goes there; name the folder, or "
                "the pattern, that the archive was made of"
            )
        raise UsageError(
            f"{self._doing} {where}: got {len(specs)} images of kind {kind} in {self._text}, not "
            "one that alone fits the store; name the file that it was made of"
        )

    def _formerly(self, kind: str) -> list[SourceSpec]:
        """Return the images of a kind that others were taken for before."""
        every = ((formats.format_of_kind(spec.kind), spec) for spec in self._specs)
        former = (one for format_, spec in every if format_ for one in format_.former(spec))
        return [spec for spec in former if spec.kind == kind]

    def candidates(self, store: AnyPath) -> list[SourceSpec]:
        """Return the images of which one may be that of a store that no longer tells its origin.

        In an archive those that go there; else the image of the store's name, or all.
        """
        where = storage_path(store)
        self._chosen = None
        if self._archive is not None:
            return self._stored_at(where)
        named = [spec for spec in self._specs if store_path(spec).name == where.stem]
        return named or self._called_by_key(where) or list(self._specs)

    def _as_taken_before(self, spec: SourceSpec) -> tuple[SourceSpec, ...]:
        """Return the images of an earlier version that the archive has, or else the image."""
        archive = self._archive
        if archive is None:
            return (spec,)

        def store_of(one: SourceSpec) -> StoragePath:
            key = _store_key(one)
            private = formats.has_private_names(one.kind)
            pseudonyms = UNKEYED if private else self._pseudonyms()
            if not (archive / key).is_folder() and pseudonyms.key is not None:
                key = _store_key(renamed(one, str(store_path(one)), pseudonyms))
            return archive / key

        return as_taken_before(spec, store_of)

    def _stored_at(self, store: StoragePath) -> list[SourceSpec]:
        """Return the images that an archive keeps there, by whichever of their names."""
        assert self._archive is not None, "asked of an archive"
        key = store.relative_to(self._archive)
        return [*self._by_store.get(key, ()), *self._by_keyed_name.get(key, ())]

    def _called_by_key(self, store: StoragePath) -> list[SourceSpec]:
        """Return the image that has this name in an archive that tells no names of files."""
        return list(self._by_keyed_name.get(store.name, ()))

    @cached_property
    def _by_keyed_name(self) -> dict[str, list[SourceSpec]]:
        """The images by the keys of stores that are de-identified and not called as their files."""
        found: dict[str, list[SourceSpec]] = {}
        pseudonyms = self._pseudonyms()
        for spec in self._specs if pseudonyms.key is not None else ():
            if not formats.has_private_names(spec.kind):
                named = renamed(spec, str(store_path(spec)), pseudonyms)
                found.setdefault(_store_key(named), []).append(named)
        return found

    @property
    def failures(self) -> list[tuple[str, SourceError]]:
        """What was found and is no image, or could not be read: what it is called, and why."""
        return [self._told(failure) for failure in self._failures]

    def chosen(self, spec: SourceSpec) -> SourceSpec:
        """Note that somebody else found what a store was made of; return it."""
        self._chosen = spec
        return spec

    def told(self, store: StoragePath, text: str) -> str:
        """Return a message about a store whose source was found, without names of patients."""
        if self._chosen is None or self._show_paths:
            return text
        return told_error(self._chosen, text, store.name)

    def _told(self, failure: Failure) -> tuple[str, SourceError]:
        if self._show_paths or not failure.private:
            return failure.path, failure.error
        name, error = told_failure(failure)
        return name, type(error)(f"{error} (--show-paths names it)")

    @property
    def missing(self) -> list[Failure]:
        """The failures of arguments that name nothing: no such file, no match, no service."""
        named = {printable_name(str(path)) for path in self._paths}
        kinds = (SourceError, NoSuchSource)
        return [f for f in self._failures if f.path in named and type(f.error) in kinds]

    def left_over(self, stores: Collection[str] = ()) -> list[str]:
        """Return the images that no store was found to be of, by their first file, and page.

        ``stores`` are the keys of stores that are there, whatever their state.
        """
        keyed = [one for key in stores for one in self._by_keyed_name.get(key, ())]
        there = self._used.union(*map(_images, keyed))
        every = [
            spec for key, specs in self._by_store.items() for spec in specs if key not in stores
        ]
        left = [spec for spec in every if there.isdisjoint(_images(spec))]
        if self._show_paths:
            return [path_and_page(spec) for spec in left]
        return [told_name(spec) for spec in left]

    def _same_files(self, store: StoragePath, origin: Mapping[str, Any]) -> SourceSpec | None:
        """Return the stack of the very files of a store, whatever it would be called today."""
        files = [file["name"] for file in origin.get("files", ())] if "files" in origin else []
        folder = None
        if self._archive is not None:
            folder = store.relative_to(self._archive).rpartition("/")[0]
        fitting = [
            spec
            for spec in self._found.of_kind(str(origin["kind"]))
            if spec.options.get(STACKED)
            and file_names_of(spec) == files
            and folder in (None, str(store_path(spec).parent).removeprefix("."))
        ]
        return fitting[0] if len(fitting) == 1 else None

    def _choose(self, store: StoragePath, specs: Sequence[SourceSpec]) -> SourceSpec | None:
        """Return the one image that fits; None where there is none or no telling."""
        if self._archive is not None:
            key = store.relative_to(self._archive)
            fitting = [spec for spec in specs if _store_key(spec) == key]
            fitting = fitting or [s for s in specs if formats.has_private_names(s.kind)]
        elif len(specs) == 1:
            fitting = list(specs)
        else:
            fitting = [spec for spec in specs if store_path(spec).name == store.stem]
        by_files = {spec.paths: spec for spec in fitting}  # a stack may be found in two ways
        return next(iter(by_files.values())) if len(by_files) == 1 else None


def _store_key(spec: SourceSpec) -> str:
    return f"{store_path(spec)}.zarr"


def _images(spec: SourceSpec) -> set[tuple[str, int | str | None]]:
    """Return the files of an image, each with the page or variable that is meant."""
    which = spec.options.get("page", spec.options.get("variable"))
    return {(path, which) for path in spec.paths}
