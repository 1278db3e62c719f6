"""What ``tilepress.export`` is: the command as a call, of a store or of an archive."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tilepress.codecs.coder import BASE
from tilepress.errors import UsageError
from tilepress.pipeline.catalogue.stores import is_store
from tilepress.pipeline.export import export as export_store
from tilepress.pipeline.storage.path import AnyPath, storage_path

if TYPE_CHECKING:
    from tilepress.pipeline.export_archive import Exported
    from tilepress.workflows.report.exported import ExportSummary

__all__ = ["ExportedFiles", "export"]


class ExportedFiles(list[Path]):
    """Files or folders that an export wrote, those of an earlier run among them."""

    def __init__(
        self,
        files: Iterable[Path],
        stores: Sequence[Exported] = (),
        summary: ExportSummary | None = None,
        *,
        fitting_only: bool = False,
    ) -> None:
        super().__init__(files)
        self.stores = tuple(stores)
        """Of an archive, what became of each store and of the files that are no images: their
        ``state`` is "written", "there" (by an earlier run), "left out" or "failed", ``problem``
        says why."""
        self._summary = summary
        self._fitting_only = fitting_only

    @property
    def ok(self) -> bool:
        """Whether nothing is missing that was asked for."""
        return self._summary is None or not self._summary.failed(fitting_only=self._fitting_only)

    @property
    def problems(self) -> tuple[str, ...]:
        """A line for every reason why something is missing, with the first store that it holds
        for."""
        return () if self._summary is None else tuple(self._summary.problems())

    def __repr__(self) -> str:
        if self._summary is None:
            return super().__repr__()
        return "\n".join([self._summary.line(), *self.problems])


def export(
    store: AnyPath,
    out: Path | str,
    format: str | None = None,  # noqa: A002  # the word users type
    *,
    bands: Sequence[int | str] | str | None = None,
    bbox: tuple[float, float, float, float] | None = None,
    bbox_crs: str | None = None,
    resample: str | None = None,
    slices: Sequence[int] | slice | None = None,
    transfer_syntax: str | None = None,
    join_stacks: bool = False,
    fitting_only: bool = False,
    decoder: str | None = None,
    force_generative: bool = False,
    workers: int | None = None,
    report: Path | str | None = None,
) -> ExportedFiles:
    """Export a store, or all of an archive. Nothing that is there is replaced.

    Parameters
    ----------
    store :
        A store, or an archive: of that every store, and the files that it keeps, go where they lay
        below its sources. What a run that was stopped wrote is not written again.
    out :
        Of a store a folder where one is there, or the name has no ending or a slash at its end;
        else one file, whose ending says what it becomes. A stack as ``.tif`` is one raster of all
        bands, in a folder the files that it was made of. Of an archive a folder.
    format :
        "geotiff" and "dicom" give back what the store was made of, "dicom" also a slide that came
        as TIFF; "cog" is a cloud-optimised GeoTIFF; "ome-tiff", "nifti" and "nrrd" are for images
        under a microscope and volumes; "zarr" a plain Zarr store with zstd, for readers without our
        codec; "npy" a NumPy file. None is what the ending says, or what the source was.
    bands :
        Of a raster: numbers from 1 or names, in the order to write; a text is one name.
    bbox, bbox_crs :
        Part of a raster: (left, bottom, right, top) in ``bbox_crs`` ("EPSG:4326": longitudes
        first), which is that of the image unless it is given.
    resample :
        How bands of other resolutions, in stores of the scene beside this one, are taken to its
        grid: "nearest", "bilinear", "cubic", "average" or "mode". None: they are refused.
    slices :
        Part of a series or volume: numbers of slices from 0.
    transfer_syntax :
        What the frames of DICOM files are coded as, losslessly: "native", "jpegls", "jpeg2000",
        "htj2k" or "rle". None: as they came.
    join_stacks :
        Of an archive: bands that came in files of their own become one GeoTIFF or COG.
    fitting_only :
        Of an archive: that ``format`` is not for some stores counts as no failure in ``ok``.
    decoder, force_generative :
        How samples of the codec ``ntc`` are made, as ``tilepress.open`` says; files tell of it.
    workers :
        Of an archive: processes of this machine that write. None is one per processor, and none for
        a small archive; 0 writes in this process. A script that starts some calls this under
        ``if __name__ == "__main__":``.
    report :
        Of an archive: a JSON file to write, with every store and what became of it.

    Returns the files or folders that were written. Of an archive, what fails, or has no such
    format, stops nothing else: ``ok`` says whether something is missing, ``problems`` why,
    ``stores`` what became of each.

    Raises UsageError where the store has nothing to make the format of, or an option is not for
    what is exported, StoreError where a store is not sealed or damaged, or a file is in the way.
    """
    where = storage_path(store)
    if is_store(where) or not where.is_folder():
        if join_stacks or fitting_only or workers is not None or report is not None:
            raise UsageError(
                f"exporting {where.name}: join_stacks, fitting_only, workers and report are of an "
                "archive; one stack as NAME.tif is joined"
            )
        return ExportedFiles(
            export_store(
                store,
                out,
                format,
                bands=bands,
                bbox=bbox,
                bbox_crs=bbox_crs,
                resample=resample,
                slices=slices,
                transfer_syntax=transfer_syntax,
                decoder=decoder,
                force_generative=force_generative,
            )
        )
    if any(one is not None for one in (bands, bbox, bbox_crs, resample, slices)):
        text = "bands, bbox, bbox_crs, resample and slices are of one store"
        raise UsageError(f"exporting {where.name}: it is an archive; {text}")
    # here: what one store needs loads no Dask
    from tilepress.pipeline.export_staging import Wanted
    from tilepress.workflows.report.exported import ExportSummary
    from tilepress.workflows.run.export import export_archive

    wanted = Wanted(
        format=format,
        transfer_syntax=transfer_syntax,
        join_stacks=join_stacks,
        decoder=BASE if decoder is None else decoder,
        force_generative=force_generative,
    )
    summary = ExportSummary(Path(out), None if report is None else Path(report))
    done: list[Exported] = []
    interrupted = True
    try:
        for one in export_archive(store, out, wanted, workers=workers):
            summary.add(one)
            done.append(one)
        interrupted = False
    finally:
        summary.write(interrupted=interrupted)
    files = (file for one in done for file in one.files)
    return ExportedFiles(files, done, summary, fitting_only=fitting_only)
