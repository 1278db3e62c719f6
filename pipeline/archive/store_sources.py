"""Find what stores were made of, as they were made: de-identified, with levels."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from tilepress.errors import SourceError, UsageError
from tilepress.pipeline import formats
from tilepress.pipeline.archive.digests import plan_digest
from tilepress.pipeline.archive.evidence import difference_of_shape
from tilepress.pipeline.archive.private import pseudonyms_of_sources
from tilepress.pipeline.find.choose import Choice
from tilepress.pipeline.find.match import SourceFinder
from tilepress.pipeline.find.stacks import Stacks
from tilepress.pipeline.image.made_levels import MADE_LEVELS
from tilepress.pipeline.image.pseudonyms import as_stored
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.privacy.recipe import DEIDENTIFIED, as_it_was
from tilepress.pipeline.sources.levelled import with_made_levels
from tilepress.pipeline.sources.open import open_source
from tilepress.pipeline.storage.path import StoragePath
from tilepress.pipeline.store.salvage import Layout, Salvaged

__all__ = ["StoreSources"]


class StoreSources:
    """Finds what stores were made of; nothing is searched before the first store asks."""

    def __init__(
        self,
        paths: Sequence[str | Path],
        stack: Stacks,
        archive: StoragePath | None,
        folder: StoragePath,
        *,
        doing: str,
        show_paths: bool,
        choice: Choice,
    ) -> None:
        self._paths, self._stack, self._archive = paths, stack, archive
        self._choice, self._doing = choice, doing
        self._folder, self._show_paths = folder, show_paths
        self._searched = False

    @cached_property
    def _sources(self) -> SourceFinder:
        self._searched = True
        return SourceFinder(
            self._paths,
            stack=self._stack,
            archive=self._archive,
            doing=self._doing,
            pseudonyms=lambda: pseudonyms_of_sources(self._folder),
            key_folder=self._folder,
            show_paths=self._show_paths,
            choice=self._choice,
        )

    def told(self, store: StoragePath, text: str) -> str:
        """Return a message about a store without names of patients."""
        return self._sources.told(store, text) if self._searched else text

    def find(self, store: StoragePath, salvaged: Salvaged, layout: Layout) -> SourceSpec:
        """Return the image of a store, by its origin or, where that is lost, by its shape."""
        if salvaged.origin is not None:
            return self._as_stored(self._sources.find(store, salvaged.origin), salvaged)
        fitting, known = [], []
        for found in self._sources.candidates(store):
            spec = self._as_stored(found, salvaged)
            with contextlib.suppress(SourceError), contextlib.closing(open_source(spec)) as source:
                if difference_of_shape(source, layout) is None:
                    fitting.append(spec)
                    digest = plan_digest(source, layout.grid, layout.config, layout.exact, [])
                    known += [spec] if digest in salvaged.digests else []
        if len(known) == 1:  # the document of a lean store's level says so
            fitting = known
        if len(fitting) != 1:
            raise UsageError(
                f"{self._doing} {store}: what it was made of is not to be read in it, and "
                f"{len(fitting)} images fit its shape; name the file (of a stack, with --stack)"
            )
        return self._sources.chosen(fitting[0])

    def _as_stored(self, spec: SourceSpec, salvaged: Salvaged) -> SourceSpec:
        attributes = salvaged.attributes or {}
        spec = as_it_was(spec, attributes.get(DEIDENTIFIED), self._folder)
        spec = with_made_levels(spec, attributes.get(MADE_LEVELS))
        private = formats.has_private_names(spec.kind)
        return as_stored(spec, salvaged.attributes) if private else spec
