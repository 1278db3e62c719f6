"""The command find: stores of an archive by place, time, identifier or modality."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from tilepress.errors import UsageError
from tilepress.workflows.cli.console import Json, say

__all__ = ["find", "register"]


def register(app: typer.Typer) -> None:
    """Add this command to the program."""
    app.command()(find)


def find(
    archive: Annotated[
        str, typer.Argument(metavar="ARCHIVE", help="A folder of stores, or s3://…")
    ],
    bbox: Annotated[
        str | None,
        typer.Option(
            metavar="WEST,SOUTH,EAST,NORTH",
            help="Images that meet this box, in degrees (WGS 84); WEST above EAST crosses the "
            "antimeridian.",
        ),
    ] = None,
    when: Annotated[
        str | None,
        typer.Option(
            "--datetime",
            metavar="TIME[/TIME]",
            help="Rasters taken then: 2020, 2020-06, 2020-06-15, 2020-01-01/2020-06-30, ../2020.",
        ),
    ] = None,
    uid: Annotated[
        str | None,
        typer.Option(
            metavar="UID",
            help="Series of this StudyInstanceUID or SeriesInstanceUID, or of the 12 digits that "
            "stand for it.",
        ),
    ] = None,
    patient: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Series of this PatientID; needs the archive's key."),
    ] = None,
    patient_hash: Annotated[
        str | None,
        typer.Option(
            metavar="DIGITS", help="Series of the patient for whom these 12 digits stand."
        ),
    ] = None,
    modality: Annotated[
        str | None, typer.Option(metavar="NAME", help="Series of this DICOM modality, e.g. CT.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Find stores of an archive in its catalogue; every condition has to hold.

    Stores are printed by their paths, one on a line. Nothing found is no error: nothing is printed.

    **Examples**

        tilepress find out/ --bbox 10,46,12,48 --datetime 2020-06

        tilepress find out/ --uid 1.2.840.113619.2.1.1

        tilepress find out/ --modality CT --json
    """
    from tilepress.pipeline.catalogue import search

    if (bbox, when, uid, patient, patient_hash, modality) == (None,) * 6:
        raise UsageError(
            "searching: say what to look for: --bbox, --datetime, --uid, --patient, "
            "--patient-hash or --modality"
        )
    box = None if bbox is None else search.parse_bbox(bbox)
    stores = search.find(
        archive,
        bbox=box,
        datetime=when,
        uid=uid,
        patient=patient,
        patient_hash=patient_hash,
        modality=modality,
    )
    if as_json:
        say(json.dumps([str(store) for store in stores]))
        return
    for store in stores:
        say(str(store))
