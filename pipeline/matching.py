"""Find the image that a store was made of among files and folders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from tilepress.codecs.errors import UsageError
from tilepress.pipeline.discover import Failure, discover, store_path
from tilepress.pipeline.source import SourceSpec
from tilepress.pipeline.store import StoreReader

__all__ = ["Sources"]


class Sources:
    """The images in ``paths``, to be found by the stores that they went to.

    With ``archive``, a store is that of the image that compressing ``paths`` into this folder would
    put there. Without it, the only image of the store's kind is taken, or the one of its name.
    """

    def __init__(
        self,
        paths: Sequence[Path | str],
        *,
        stack: str | None = None,
        archive: Path | None = None,
    ) -> None:
        self._archive = archive
        found = list(discover(paths, stack))
        self._specs = [item for item in found if isinstance(item, SourceSpec)]
        self._failures = [item for item in found if isinstance(item, Failure)]
        self._text = ", ".join(map(str, paths))
        self._used: set[tuple[str, int | None]] = set()

    def find(self, store: Path) -> SourceSpec:
        """Return the image of ``store``.

        Raises UsageError where there is none, or more than one; SourceError where all that was
        found cannot be read; DamagedStore where the store does not tell what it was made of.
        """
        origin = StoreReader.open(store).origin
        kind = str(origin["kind"])
        specs = [spec for spec in self._specs if spec.kind == kind]
        if kind == "geotiff":
            page = origin["files"][0].get("page")
            specs = [spec for spec in specs if spec.options.get("page") == page]
        if kind == "stack":
            specs += self._stacks([str(file["name"]) for file in origin["files"]])
        chosen = self._choose(store, specs)
        if chosen is not None:
            self._used.update(_images(chosen))
            return chosen
        if self._failures and not self._specs:
            raise self._failures[0].error
        raise UsageError(
            f"verifying {store}: got {len(specs)} images of kind {kind} in {self._text}, not one "
            "that alone fits the store; name the file that it was made of"
        )

    def left_over(self) -> list[str]:
        """Return the images that no store was found to be of, by their first file, and page."""
        left = [spec for spec in self._specs if self._used.isdisjoint(_images(spec))]
        ends = [
            f" (page {spec.options['page']})" if "page" in spec.options else "" for spec in left
        ]
        return [spec.paths[0] + end for spec, end in zip(left, ends, strict=True)]

    def _choose(self, store: Path, specs: Sequence[SourceSpec]) -> SourceSpec | None:
        """Return the one image that fits; None where there is none or no telling."""
        if self._archive is not None:
            place = store.relative_to(self._archive)
            fitting = [s for s in specs if f"{store_path(s)}.zarr" == place.as_posix()]
        elif len(specs) == 1:
            fitting = list(specs)
        else:
            fitting = [spec for spec in specs if store_path(spec).name == store.stem]
        by_files = {spec.paths: spec for spec in fitting}  # a stack may be found in two ways
        return next(iter(by_files.values())) if len(by_files) == 1 else None

    def _stacks(self, names: Sequence[str]) -> Iterator[SourceSpec]:
        """Yield stacks of files of these names, which lie below one folder."""
        from tilepress.pipeline.geotiff import stack_name

        rasters = {spec.paths[0]: spec for spec in self._specs if spec.kind == "geotiff"}
        for path, spec in rasters.items():
            if not path.endswith(f"/{names[0]}"):
                continue
            root = path.removesuffix(names[0])
            paths = tuple(root + name for name in names)
            if all(one in rasters for one in paths):
                options = {**spec.options, "name": stack_name(paths)}
                yield SourceSpec(kind="stack", paths=paths, options=options)


def _images(spec: SourceSpec) -> set[tuple[str, int | None]]:
    """Return the files of an image, each with the page that is meant."""
    return {(path, spec.options.get("page")) for path in spec.paths}
