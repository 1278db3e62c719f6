"""Which studies and series the DICOM stores hold.

The headers in ``source/`` are read when DICOMweb is asked for the first time, one of each store,
and kept in memory alone: what they say of studies and series is text of patients. Stores that came
or went are noticed by a walk, at most every ``WALK_S``.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from pydicom.dataset import Dataset

from tilepress.codecs.recent import Recent
from tilepress.pipeline.dicom.explicit import data_set, instance_uid
from tilepress.pipeline.dicom.format import DICOM_KIND, SLIDE_KIND
from tilepress.pipeline.dicom.model import Model, json_model
from tilepress.pipeline.dicom.stored import (
    StoredFrames,
    StoredInstance,
    planes_of,
    stored_instances,
)
from tilepress.pipeline.store.reader import StoreReader
from tilepress.workflows.serve.dicomweb.levels import KEPT, SERIES_UID, STUDY_UID
from tilepress.workflows.serve.shelf import NoSuchStore, Shelf

__all__ = ["UID", "Held", "Holdings", "Instance", "Series"]

UID = re.compile(r"[0-9.]{1,64}")

WALK_S = 20.0
"""Stores of an archive are walked no sooner again."""

MAX_OPEN_BYTES = 256 * 2**20
"""Headers of series that are held open."""

STREAMED_BYTES = 32 * 2**20
"""Decoded records that one answer keeps, beside the one that it reads from."""


@dataclass(frozen=True, slots=True)
class Series:
    """One series; its images may be in several stores."""

    study: str
    uid: str
    stores: tuple[str, ...]
    """Their keys, sorted."""
    count: int
    """Instances of all of them."""
    model: Model = field(repr=False)
    """What the first header says of patient, study and series."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What is kept of one store; ``series`` is None where it is no DICOM store that can be read."""

    tag: str | None
    series: Series | None


class Held:
    """The instances of one store, in the order of an export. Any thread may ask."""

    def __init__(self, reader: StoreReader) -> None:
        self.reader = reader.as_it_came()
        found = stored_instances(self.reader)
        self.instances = sorted(found, key=lambda one: min(one.frames))

    @property
    def bytes_of_headers(self) -> int:
        return sum(4096 + len(one.before) + len(one.after) for one in self.instances)

    def frames(self, *, alone: bool) -> StoredFrames:
        """Return what reads frames for one answer; ``alone`` for single ones."""
        return planes_of(self.reader, cached_bytes=STREAMED_BYTES, alone=alone)

    @cached_property
    def uids(self) -> list[str]:
        """SOPInstanceUID of every instance, as it is exported; "" for what is no UID."""
        planes = self.frames(alone=True)
        uids = (instance_uid(one, planes, self.reader) for one in self.instances)
        return [uid if UID.fullmatch(uid) else "" for uid in uids]


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance, and where it is found."""

    series: Series
    held: Held
    number: int
    """Its place in its store."""

    @property
    def stored(self) -> StoredInstance:
        return self.held.instances[self.number]

    @property
    def uid(self) -> str:
        return self.held.uids[self.number]

    @property
    def address(self) -> str:
        """Below the root of DICOMweb."""
        one = self.series
        return f"studies/{one.study}/series/{one.uid}/instances/{self.uid}"

    def data_set(self) -> Dataset:
        return data_set(self.stored, self.held.frames(alone=True), self.held.reader)


class Holdings:
    """Studies and series of a shelf. Any thread may ask."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._known: dict[str, _Known] = {}
        self._series: dict[str, dict[str, Series]] = {}
        self._walked = -WALK_S
        self._walking = threading.Lock()
        self._open: Recent[str, Held] = Recent(MAX_OPEN_BYTES, lambda held: held.bytes_of_headers)

    def studies(self, uids: Sequence[str] | None = None) -> Iterator[Sequence[Series]]:
        """Yield the series of each study, of all studies or of some."""
        found = self._current()
        for study in sorted(found) if uids is None else dict.fromkeys(uids):
            if study in found:
                yield [found[study][uid] for uid in sorted(found[study])]

    def instances(self, series: Series) -> Iterator[Instance]:
        """Yield the instances of a series."""
        for key in series.stores:
            held = self._held(key)
            yield from (Instance(series, held, number) for number in range(len(held.instances)))

    def find(self, study: str, series: str | None = None) -> list[Series]:
        """Return the series that an address names. Raises NoSuchStore where there is none."""
        found = self._current().get(study, {})
        if series is not None:
            found = {series: found[series]} if series in found else {}
        if not found:
            raise NoSuchStore
        return [found[uid] for uid in sorted(found)]

    def instance(self, study: str, series: str, uid: str) -> Instance:
        """Return an instance. Raises NoSuchStore."""
        (one,) = self.find(study, series)
        for key in one.stores:
            held = self._held(key)
            if uid in held.uids:
                return Instance(one, held, held.uids.index(uid))
        raise NoSuchStore

    def _held(self, key: str) -> Held:
        name = f"{key}|{self._shelf.tag(key)}"  # one that was replaced is another
        held = self._open.get(name)
        if held is None:
            held = Held(self._shelf.reader(key))
            self._open.put(name, held)
        return held

    def _current(self) -> Mapping[str, Mapping[str, Series]]:
        with self._walking:
            if time.monotonic() - self._walked >= WALK_S:
                self._walk()
                self._walked = time.monotonic()
            return self._series

    def _walk(self) -> None:
        known: dict[str, _Known] = {}
        by_study: dict[str, dict[str, Series]] = {}
        for key in self._shelf.stores():
            known[key] = one = self._look(key)
            if one.series is None:
                continue
            series = by_study.setdefault(one.series.study, {})
            other = series.get(one.series.uid)
            series[one.series.uid] = one.series if other is None else _both(other, one.series)
        self._known, self._series = known, by_study

    def _look(self, key: str) -> _Known:
        """Return what a store holds; one that cannot be read holds nothing."""
        before = self._known.get(key)
        tag = self._shelf.tag(key)
        if before is not None and before.tag == tag:
            return before
        try:
            return _Known(tag, _series_of(key, self._shelf.reader(key)))
        except Exception:  # the other stores are served, whatever a forged one holds
            return _Known(tag, None)


def _series_of(key: str, reader: StoreReader) -> Series | None:
    if reader.origin["kind"] not in (DICOM_KIND, SLIDE_KIND):
        return None
    held = Held(reader)
    planes = held.frames(alone=True)
    model = json_model(data_set(held.instances[0], planes, held.reader))
    study, uid = (_text(model, tag) for tag in (STUDY_UID, SERIES_UID))
    if not UID.fullmatch(study) or not UID.fullmatch(uid):
        return None  # nothing could name it
    kept: dict[str, dict[str, Any]] = {tag: model[tag] for tag in KEPT if tag in model}
    return Series(study, uid, (key,), len(held.instances), kept)


def _both(one: Series, other: Series) -> Series:
    """Return a series whose images are in the stores of both."""
    first = min(one, other, key=lambda series: series.stores)
    stores = tuple(sorted((*one.stores, *other.stores)))
    return replace(first, stores=stores, count=one.count + other.count)


def _text(model: Model, tag: str) -> str:
    values = model.get(tag, {}).get("Value") or [""]
    return str(values[0])
