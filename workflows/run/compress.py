"""Turn sources into sealed stores: discover, plan, run, seal, report."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

from tilepress.errors import UsageError
from tilepress.pipeline.archive.images import Job
from tilepress.pipeline.archive.lease import LeaseKeeper
from tilepress.pipeline.archive.options import CodingOptions
from tilepress.pipeline.archive.plan_file import Part
from tilepress.pipeline.find.stacks import Stacks
from tilepress.pipeline.storage.local import FolderPath
from tilepress.pipeline.storage.path import StoragePath
from tilepress.pipeline.store.signature import Signer
from tilepress.workflows.learn.tune import Tuner
from tilepress.workflows.report.labels import Labels
from tilepress.workflows.report.report import Report, check_writable_report
from tilepress.workflows.report.telling import Note, Progress, SilentProgress
from tilepress.workflows.run.driver import WHOLE_BYTES, Run
from tilepress.workflows.run.dry import forecast_run
from tilepress.workflows.run.finish import ReportWriter, finish_run, report_when_stopped
from tilepress.workflows.run.images import find_images, nothing_found, other_files, todos
from tilepress.workflows.run.keeping import Keeping
from tilepress.workflows.run.options import check_options, takes_coding_options
from tilepress.workflows.run.parts import compress_part
from tilepress.workflows.run.request import CompressRequest, PathLike
from tilepress.workflows.run.signing import BY_COMPRESS, Signing
from tilepress.workflows.run.workers import make_executor

__all__ = ["compress"]

MANY_FILES = 1000
"""Files that are no images of which a line says that they are being kept: it takes seconds."""


@takes_coding_options
def compress(
    sources: PathLike | Sequence[PathLike],
    destination: PathLike,
    *,
    tune: float | None = None,
    stack: Stacks = None,
    keep: str = "known",
    include: str | Sequence[str] = (),
    exclude: str | Sequence[str] = (),
    driver: str | Sequence[str] = (),
    skip_larger: int | None = None,
    device: str = "auto",
    workers: int | None = None,
    cluster: str | None = None,
    dashboard: bool = False,
    part: str | None = None,
    force: bool = False,
    checksum: bool = False,
    dry_run: bool = False,
    sign: str | Path | None = None,
    thumbnails: bool | None = None,
    report: str | Path | None = None,
    show_paths: bool = False,
    progress: Progress | None = None,
    **coding: Unpack[CodingOptions],
) -> Report:
    """Compress images into Zarr stores.

    Run the same call again after anything stopped it: finished images are left alone and finished
    shards are not done again.

    Parameters
    ----------
    sources :
        Files, folders, patterns (``"/archive/**/*.tif"``), ``s3://…``, "-" (a list on standard
        input) and "@FILE" (a list). Folders are searched; what is an image is decided by content.
    destination :
        A path that ends in ``.zarr`` takes exactly one image; any other is an archive, a folder or
        ``s3://bucket/prefix``, that mirrors the sources.
    max_error :
        Largest difference of any sample that coding may make; 0 is lossless. In stored units for
        integers, physical ones for floats.
    quality, psnr, bits_per_sample, bpp :
        Lossy, by "ntc" where no codec is named; at most one of these, which "ntc" holds within
        ``max_error``, too. 1 to 100, of the codec's own scale where it has one; a PSNR in dB that
        no image is below, its peak 255 for 8 bits, else the range of the image's values; bits a
        sample, or bits a pixel of all bands, that no image is above. Absent samples, masks, flags
        and classes stay exact; what a mask or alpha hides does not count in a PSNR.
    per_tile :
        Every tile holds ``psnr``, ``bits_per_sample`` or ``bpp`` by itself.
    codec, tier, model :
        How tiles are coded. None is the learned lossless codec, or with a target "ntc", the
        learned lossy one; others are "mlp", "compressai:ARCH", "jpegxl",
        "jpeg2000", "htj2k", "jpegls", "lerc", "zstd" and, of 8 bits, "webp" and "avif".
        Tiers: "fast" (the fitted linear path alone), "standard", "max" (a larger network).
    deidentify :
        Remove what identifies a patient: "basic", the profile of DICOM PS3.15 Annex E, or with its
        options, "basic,retain-uids" (docs/privacy.md). "" keeps everything. Pixels stay.
    tune :
        Seconds for which the model's weights are tuned on a sample of the images first. An image
        gets the tuned ones, in its store's metadata, where that makes its store smaller. Needs the
        extra torch. Sealed stores stay as they are.
    tile :
        Rows and columns of one record, 16 to 2048.
    planes_per_chunk :
        Bands, slices or times of one record at most, 1 to 64; 0 is up to 16. With 1 a plane is
        read without the others, and takes more bytes (docs/archive.md).
    for_ :
        "training" chooses tiles of 256 and the tier "fast" (docs/training.md); ``tile`` and
        ``tier`` win over it.
    levels :
        Levels of lower resolution: "auto" makes some of images above 4096 × 4096, from a quarter of
        the rows and columns on, and leaves sealed stores those that they have; a number makes so
        many, each half of the one before; "none" none.
    lossless_for :
        With a loss, patterns of files and bands that stay lossless: ``"*SCL*,*QA*"``. Alpha,
        flags and classes do so anyway.
    max_expansion :
        Refuse images that claim to hold over this many bytes of samples for each byte of their
        files, and over 1 GiB; 0 refuses none.
    stack :
        Pattern of single-band files that make one image together, e.g. ``"*_B*.TIF"``, or several;
        "auto" knows bands of Landsat, Sentinel-2 and HLS by their names.
    keep :
        Which files of searched folders that are no images the archive keeps, byte for byte below
        ``files/``: "known" (metadata, texts, previews, DICOM objects without pixels), "all" or
        "none". What is de-identified keeps none.
    include, exclude :
        Patterns of paths below the sources (``"*.tif"``, ``"raw/**"``): only files that one of the
        first fits, if there are any, and none of the second.
    driver :
        Further drivers of GDAL that rasters are read with: HFA (``.img``), netCDF, HDF5 and others;
        each of several variables of a file is an image. See docs/archive.md.
    skip_larger :
        Leave out images whose files have more bytes than this.
    device :
        "auto" codes on GPUs where workers have them, "cpu" never, "cuda" refuses to go without.
    workers :
        Worker processes; None is one per processor, 0 codes in this process without Dask. A script
        that starts workers needs ``if __name__ == "__main__":`` around the call.
    cluster :
        Where workers run: "local" (None), "cuda", the path of a profile of a batch system, the
        address of a running scheduler (``tcp://…``), or "slurm-runner".
    dashboard :
        Serve Dask's dashboard of local workers on the loopback interface (extra ``dashboard``).
    part :
        "i/n", i from 0 to n − 1: write only this share of the shards, in this process without Dask.
        All parts together write everything, in any order and at the same time; then ``finish``
        seals. The first part fixes the plan, unless ``plan`` did.
    force :
        Replace what the destination holds. Every old store stays in its place until the new one
        is sealed.
    checksum :
        Skip a sealed store only if its samples are those of the source, too, not just the sizes,
        times and headers of the files; others are listed as conflicts. Reads every source whole.
    dry_run :
        Write nothing: tell what would be done, and about how large and how long it would be, from
        a sample of the tiles (``Report.forecast``). Reads in this process.
    sign :
        File of an ed25519 private key (OpenSSH or PEM) with which every store is signed that this
        run seals; with ``checksum`` also one that is there without a signature. A wrong signature
        that is there is a failure. The key stays in this process.
    thumbnails :
        Whether the catalogue of an archive has a small picture of each raster on the ground; None
        of those that have levels, for which that costs next to nothing. Never of DICOM.
    report :
        File to write the report to, as JSON.
    show_paths :
        Tell paths of DICOM files, too, which may be called after patients. Otherwise they have the
        names of their stores, and a table beside the report, or in the archive's private folder,
        says which files those are.
    progress :
        What shows the run while it goes on. ``tilepress.compress`` takes True, too, for a bar in
        the terminal or notebook, and False for nothing: by default notebooks show a bar.

    Returns
    -------
    Report
        Every image that is sealed now, and every input that failed with the reason. Failures of
        single inputs are not raised.

    Raises
    ------
    UsageError
        Where the request as a whole makes no sense; nothing was written.
    """
    started = time.monotonic()
    if report is not None:
        check_writable_report(Path(report))
    request = CompressRequest.of(
        sources,
        destination,
        stack,
        coding,
        keep=keep,
        include=include,
        exclude=exclude,
        driver=driver,
        skip_larger=skip_larger,
    )
    check_options(request.options, workers, tune)
    if thumbnails and dry_run:
        raise UsageError("compressing: --dry-run draws no --thumbnails; leave one of them out")
    if thumbnails and (part is not None or request.destination.is_store):
        raise UsageError(
            "compressing: thumbnails go into the catalogue of an archive; of parts, tilepress "
            "finish --thumbnails makes them"
        )
    signer = None if sign is None else Signer.load(sign)
    writer = ReportWriter(
        path=None if report is None else Path(report),
        started=started,
        description=request.describe(
            tune=tune, device=device, workers=workers, cluster=cluster, part=part, force=force,
            checksum=checksum, sign=None if sign is None else str(sign),
        ),
    )  # fmt: skip
    if part is not None:
        refused = workers or force or checksum or dashboard or dry_run or cluster is not None
        if tune is not None or refused:
            raise UsageError(
                "compressing a part: --tune, --workers, --cluster, --force, --dry-run, --checksum "
                "and --dashboard do not go with --part; replace what is there with tilepress plan "
                "--force"
            )
        return compress_part(
            request, Part.parse(part), device, writer, progress, signer, show_paths=show_paths
        )
    if dry_run:
        with progress or SilentProgress() as told:
            result = forecast_run(
                request,
                told,
                force=force,
                checksum=checksum,
                workers=workers,
                show_paths=show_paths,
            )
        return finish_run(result, writer)
    target, options = request.destination, request.options
    executor = make_executor(workers, cluster, device, options, progress, dashboard=dashboard)
    passed_over: Counter[str] = Counter()
    others = other_files(request)
    found = find_images(request, passed_over, others, show_paths=show_paths)
    missing = _missing(target.folder)
    target.check_writable()
    tuner = None
    if tune is not None:
        tuner = Tuner(
            tune,
            sources=request.sources,
            stack=stack,
            destination=target,
            options=options,
            force=force,
        )
    with contextlib.ExitStack() as resources:
        for folder in reversed(missing):
            resources.callback(folder.remove_empty)  # where nothing came of it
        progress = resources.enter_context(progress or SilentProgress())
        if tuner is not None:
            options = tuner.options(find_images(request), progress)
        with contextlib.ExitStack() as at_work:
            keeper = at_work.enter_context(LeaseKeeper())
            run = Run(
                executor=at_work.enter_context(executor),
                keeper=keeper,
                job=Job(
                    destination=target,
                    options=options,
                    holder=keeper.holder,
                    force=force,
                    checksum=checksum,
                    whole_bytes=WHOLE_BYTES,
                ),
                progress=progress,
                signing=None if signer is None else Signing(signer, BY_COMPRESS),
                report=Report(passed_over=passed_over),
            )
            labels = at_work.enter_context(Labels(target, writer.path, show_paths=show_paths))
            with report_when_stopped(run, writer):
                result = run.run(todos(found, run, labels, request.skip_larger))
                if others is not None:
                    keeping = Keeping(
                        destination=target,
                        report=result,
                        passed_over=passed_over,
                        labels=labels,
                        progress=progress,
                        force=force,
                        checksum=checksum,
                    )
                    if others.files >= MANY_FILES:
                        text = f"keeping {others.files} files that are no images"
                        progress.tell(Note(text))
                    keeping.keep(others.folders())
        if tuner is not None and not run.unfinished:
            tuner.forget()
        if not (result.images or result.failures or result.excluded or result.kept.files):
            raise nothing_found("compressing", request, passed_over)
        with report_when_stopped(run, writer):
            return finish_run(result, writer, target, progress, thumbnails)


def _missing(folder: StoragePath) -> list[StoragePath]:
    """Return the folders that are to be made for this one, itself first; none in a bucket."""
    missing: list[StoragePath] = []
    while isinstance(folder, FolderPath) and not folder.exists():
        missing.append(folder)
        folder = folder.parent
    return missing
