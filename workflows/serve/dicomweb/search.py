"""QIDO-RS (PS3.18 10.6): studies, series and instances by their attributes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Literal

from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException

from tilepress.errors import UsageError
from tilepress.pipeline.dicom.matching import Condition, parse_condition, parse_path
from tilepress.pipeline.dicom.model import Model, json_model
from tilepress.workflows.serve.dicomweb.holdings import Holdings, Instance, Series
from tilepress.workflows.serve.dicomweb.levels import (
    INSTANCE_GIVEN,
    SERIES,
    SERIES_GIVEN,
    SERIES_UID,
    STUDY,
    STUDY_GIVEN,
    STUDY_UID,
)

__all__ = ["Asked", "Level", "asked", "searched"]

Level = Literal["study", "series", "instance"]

MAX_RESULTS = 1000
"""Results of one answer; by itself so many, too."""

MAX_LOOKED = 10_000
"""Headers of instances that one search compares with what is wanted."""

MAX_CONDITIONS = 64

Found = Callable[[], Model]
"""Gives what is told of something that is found: only of what is on the page that is asked for."""

_RESERVED = frozenset(("limit", "offset", "includefield", "fuzzymatching", "accept", "charset"))
_MODALITIES, _SOP_CLASSES = "00080061", "00080062"
_STUDY_SERIES, _STUDY_INSTANCES = "00201206", "00201208"
_SERIES_INSTANCES, _AVAILABILITY, _RETRIEVE = "00201209", "00080056", "00081190"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a search asks for."""

    conditions: tuple[Condition, ...]
    fields: frozenset[str]
    everything: bool
    """Whether all attributes are asked for, in place of ``fields`` beside the usual ones."""
    limit: int
    offset: int
    warnings: tuple[str, ...]
    """What the client is told beside the results."""


def asked(query: QueryParams) -> Asked:
    """Return what the parameters of an address ask for; raises UsageError."""
    conditions: list[Condition] = []
    fields: set[str] = set()
    warnings: list[str] = []
    everything = False
    for key, value in query.multi_items():
        if key == "includefield":
            for name in value.split(","):
                if name == "all":
                    everything = True
                elif name:
                    fields.add(parse_path(name)[0])
        elif key == "fuzzymatching":
            if value not in ("true", "false"):
                raise UsageError("searching: fuzzymatching is neither true nor false")
            if value == "true":
                warnings.append(
                    "The fuzzymatching parameter is not supported. Only literal matching has been "
                    "performed."
                )
        elif key not in _RESERVED:
            conditions.append(parse_condition(key, value))
        if len(conditions) + len(fields) > MAX_CONDITIONS:
            raise UsageError(f"searching: more than {MAX_CONDITIONS} attributes")
    return Asked(
        conditions=tuple(conditions),
        fields=frozenset(fields),
        everything=everything,
        limit=min(_count(query, "limit", MAX_RESULTS), MAX_RESULTS),
        offset=_count(query, "offset", 0),
        warnings=tuple(warnings),
    )


def _count(query: QueryParams, name: str, usual: int) -> int:
    text = query.get(name)
    if text is None:
        return usual
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise UsageError(f"searching: {name} is no number from 0 on")
    return int(text)


def searched(
    holdings: Holdings,
    level: Level,
    wanted: Asked,
    root: str,
    study: str | None = None,
    series: str | None = None,
) -> tuple[list[Model], bool]:
    """Return the attributes of what is found, and whether there is more.

    ``study`` and ``series`` are those that the address names; ``root`` is the address of DICOMweb.
    Raises NoSuchStore where there are none such, HTTPException 413 where too much would have to be
    read.
    """
    if study is None:
        studies = holdings.studies(_uids(wanted.conditions, STUDY_UID))
    else:
        studies = iter([holdings.find(study, series)])
    found: Iterator[Found]
    if level == "study":
        found = (
            partial(_study, one, wanted, root)
            for one in studies
            if _takes(wanted.conditions, _study_model(one, root))
        )
    elif level == "series":
        found = _series_found(studies, wanted, root, with_study=study is None)
    else:
        found = _instances_found(holdings, studies, wanted, root, study, series)
    page = list(islice(found, wanted.offset, wanted.offset + wanted.limit + 1))
    return [one() for one in page[: wanted.limit]], len(page) > wanted.limit


def _uids(conditions: Sequence[Condition], tag: str) -> list[str] | None:
    """Return the UIDs that are asked for at a level; None where any may be."""
    for one in conditions:
        if one.path == (tag,) and one.wanted.strip("*"):
            return re.split(r"[,\\]", one.wanted)
    return None


def _takes(conditions: Sequence[Condition], model: Model) -> bool:
    return all(one.takes(model) for one in conditions)


def _study_model(group: Sequence[Series], root: str) -> Model:
    model = {tag: value for tag, value in group[0].model.items() if tag in STUDY}
    modalities = sorted({str(v) for one in group for v in _values(one.model, "00080060")})
    classes = sorted({str(v) for one in group for v in _values(one.model, "00080016")})
    return model | {
        _MODALITIES: _one("CS", *modalities),
        _SOP_CLASSES: _one("UI", *classes),
        _STUDY_SERIES: _one("IS", len(group)),
        _STUDY_INSTANCES: _one("IS", sum(one.count for one in group)),
        _AVAILABILITY: _one("CS", "ONLINE"),
        _RETRIEVE: _one("UR", f"{root}/studies/{group[0].study}"),
    }


def _series_model(one: Series, root: str) -> Model:
    model = {tag: value for tag, value in one.model.items() if tag in SERIES}
    return model | {
        _SERIES_INSTANCES: _one("IS", one.count),
        _AVAILABILITY: _one("CS", "ONLINE"),
        _RETRIEVE: _one("UR", f"{root}/studies/{one.study}/series/{one.uid}"),
    }


_ADDED = frozenset(
    (_MODALITIES, _SOP_CLASSES, _STUDY_SERIES, _STUDY_INSTANCES, _SERIES_INSTANCES)
) | {_AVAILABILITY, _RETRIEVE}
"""Attributes that a search makes itself."""


def _study(group: Sequence[Series], wanted: Asked, root: str) -> Model:
    return _given(_study_model(group, root), STUDY_GIVEN, wanted)


def _series_found(
    studies: Iterator[Sequence[Series]], wanted: Asked, root: str, *, with_study: bool
) -> Iterator[Found]:
    for group in studies:
        above = _study_model(group, root)
        for one in group:
            own = _series_model(one, root)
            if _takes(wanted.conditions, above | own):
                model = above | own if with_study else own | {STUDY_UID: above[STUDY_UID]}
                usual = SERIES_GIVEN | STUDY_GIVEN if with_study else SERIES_GIVEN | {STUDY_UID}
                yield partial(_given, model, usual, wanted)


def _instances_found(
    holdings: Holdings,
    studies: Iterator[Sequence[Series]],
    wanted: Asked,
    root: str,
    study: str | None,
    series: str | None,
) -> Iterator[Found]:
    upper = STUDY | SERIES | _ADDED
    above = [one for one in wanted.conditions if one.path[0] in upper - {"00080016"}]
    own = [one for one in wanted.conditions if one not in above]
    usual = INSTANCE_GIVEN | {STUDY_UID, SERIES_UID}
    usual |= STUDY_GIVEN if study is None else frozenset()
    usual |= SERIES_GIVEN if series is None else frozenset()
    looked = 0
    for group in studies:
        of_study = _study_model(group, root)
        for one in group:
            of_series = of_study | _series_model(one, root)
            if not _takes(above, of_series):
                continue
            for instance in holdings.instances(one):
                if not own:  # what is skipped is not read
                    yield partial(_instance, instance, None, of_series, usual, wanted, root)
                    continue
                looked += 1
                if looked > MAX_LOOKED:
                    raise HTTPException(
                        413,
                        f"the search would read more than {MAX_LOOKED} headers; name a study or a "
                        "series, or ask for fewer",
                    )
                model = json_model(instance.data_set())
                if _takes(own, model):
                    yield partial(_instance, instance, model, of_series, usual, wanted, root)


def _instance(
    instance: Instance,
    known: Model | None,
    of_series: Model,
    usual: frozenset[str],
    wanted: Asked,
    root: str,
) -> Model:
    """Return what is told of an instance; ``known`` is its header where that was read."""
    model = json_model(instance.data_set()) if known is None else known
    model |= {tag: of_series[tag] for tag in _ADDED & of_series.keys()}
    model |= {
        _AVAILABILITY: _one("CS", "ONLINE"),
        _RETRIEVE: _one("UR", f"{root}/{instance.address}"),
    }
    return _given(model, usual, wanted)


def _given(model: Model, usual: frozenset[str], wanted: Asked) -> Model:
    """Return the attributes that are given, in order of their tags."""
    tags = set(model)
    if not wanted.everything:
        asked_for = {one.path[0] for one in wanted.conditions}
        tags &= usual | wanted.fields | _ADDED | asked_for
    return {tag: model[tag] for tag in sorted(tags)}


def _one(vr: str, *values: str | int) -> dict[str, Any]:
    return {"vr": vr, "Value": list(values)}


def _values(model: Model, tag: str) -> list[Any]:
    return model.get(tag, {}).get("Value") or []
