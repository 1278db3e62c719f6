"""Code planes of one size together on a device: bands in order, all planes of the batch at once.

sums of hidden units (torch) ─► serial loop over a band's cells (a kernel) ─► maps ─► next band
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from tilepress.codecs.ntc.device.cells import NEAR, Net, Place, Tables
from tilepress.codecs.ntc.device.features import Maps, Surroundings, fill_sums, own_map
from tilepress.codecs.ntc.device.kernels import kernels_of
from tilepress.codecs.ntc.device.places import MARGIN, Band, Layout, around, layout
from tilepress.codecs.ntc.device.symbols import FAULT_LEFT, FAULT_NONE, Source
from tilepress.codecs.ntc.device.transform import inverse, wavelet, wavelet_inverse
from tilepress.codecs.ntc.layout import (
    HIDDEN,
    LAPPED,
    LAPPED_BANDS,
    MOST_MAGNITUDE,
    NETS,
    TABLES,
    WAVELET_BANDS,
)
from tilepress.codecs.ntc.model import NtcModel, lookup_of
from tilepress.codecs.ntc.plane import CodedPlane, Stream

__all__ = ["Decoded", "DeviceModel", "decode_planes", "encode_planes"]

_SUMS = 2**24
"""Cells of a batch whose sums of hidden units are held at a time: with their features 5 GiB."""
_STATE_END = 1 << 16
_LANES = 32
_LOW_LIMIT = float(MOST_MAGNITUDE // 2)


class DeviceModel:
    """A model's weights and tables on a device."""

    def __init__(self, model: NtcModel, device: torch.device) -> None:
        def put(array: npt.NDArray[np.generic]) -> torch.Tensor:
            return torch.from_numpy(np.ascontiguousarray(array)).to(device)

        self.device = device
        self.tables = Tables(
            put(model.cumulative),
            put(model.used),
            put(lookup_of(model.cumulative, model.used)),
            put(model.costs),
            put(model.taken_off()),
            int(model.is_dependent),
        )
        nets = [model.nets[name] for name in NETS]
        self.first = [put(net.first.astype(np.float32)) for net in nets]
        self._near = [put(net.first[list(NEAR)].astype(np.int32)) for net in nets]
        self._second = [put(net.second.astype(np.int32)) for net in nets]
        self._bias = [put(net.bias.reshape(-1, HIDDEN)) for net in nets]
        self._base = [net.base.reshape(-1) for net in nets]
        self._shifts = [net.shifts for net in nets]

    def _row(self, band: Band, *, follows: bool) -> int:
        return (LAPPED_BANDS if band.net == LAPPED else WAVELET_BANDS) * follows + band.embedding

    def bias(self, band: Band, *, follows: bool) -> torch.Tensor:
        return self._bias[band.net][self._row(band, follows=follows)]

    def net(self, band: Band, *, follows: bool) -> Net:
        hidden, out = (int(shift) for shift in self._shifts[band.net])
        base = int(self._base[band.net][self._row(band, follows=follows)])
        return Net(self._near[band.net], self._second[band.net], hidden, out, base)


class Decoded(NamedTuple):
    """A decoded plane, in steps."""

    plane: torch.Tensor
    maps: Maps
    fault: int


@dataclass(slots=True)
class _Batch:
    """Planes on their way through the bands."""

    layout: Layout
    model: DeviceModel
    planes: torch.Tensor
    """(n, y, x) float32"""
    means: torch.Tensor
    """That of the lapped transform's means, or ``planes``."""
    maps: Maps
    previous: Maps | None
    energy: torch.Tensor
    lapped: int = 0
    """Lapped bands that are coded."""

    @classmethod
    def of(
        cls, kind: int, planes: torch.Tensor, previous: Maps | None, model: DeviceModel
    ) -> _Batch:
        count, height, width = planes.shape
        places = layout(kind, height, width)
        maps = Maps.blank(places, count, planes.device)
        if kind != LAPPED:
            nothing = torch.zeros((count, 0, 0), dtype=torch.int32, device=planes.device)
            return cls(places, model, planes, planes, maps, previous, nothing)
        means = planes[:, ::8, ::8].contiguous()
        energy = torch.zeros(means.shape, dtype=torch.int32, device=planes.device)
        return cls(places, model, planes, means, maps, previous, energy)

    @property
    def low(self) -> torch.Tensor:
        height, width = self.layout.low
        return self.means[:, :height, :width]

    def region(self, band: Band) -> torch.Tensor:
        of = self.means if band.of_means else self.planes
        rows = slice(band.row, band.row + band.step * band.height, band.step)
        return of[:, rows, band.column : band.column + band.step * band.width : band.step]

    def places_of(
        self, band: Band, cells: torch.Tensor, coded: torch.Tensor
    ) -> Iterator[tuple[Place, Net]]:
        """Yield rows of a band; the cells that they tell about are coded in between."""
        follows = self.previous is not None
        told = Surroundings(
            band, around(self.layout, band), self.maps, self.previous, self.energy, self.lapped
        )
        net, bias = self.model.net(band, follows=follows), self.model.bias(band, follows=follows)
        mean = told.context_means()
        nothing = torch.zeros_like(mean)
        running = torch.stack([mean, nothing, nothing, nothing], 1)
        step = max(1, _SUMS // (len(cells) * band.width))
        for first in range(0, band.height, step):
            rows = slice(first, min(first + step, band.height))
            sums = told.sums(self.model.first[band.net], bias, rows)
            own = own_map(self.maps, band)
            yield Place(sums, own, cells, coded, running, first), net
        cells_of_band = band.height * band.width
        self.maps.means[:, band.number] = 128 * running[:, 1] // cells_of_band
        fill_sums(self.maps, band)
        if band.net == LAPPED:
            m = MARGIN
            self.energy += own_map(self.maps, band)[:, m:-m, m:-m]
            self.lapped += 1

    def finish(self) -> None:
        """Turn decoded coefficients into samples."""
        if self.layout.kind == LAPPED:
            wavelet_inverse(self.means, self.layout.levels)
            self.planes[:, ::8, ::8] = self.means
        inverse(self.layout.kind, self.planes)


def decode_planes(
    kind: int,
    sides: tuple[int, int],
    streams: Sequence[Stream],
    previous: Maps | None,
    model: DeviceModel,
) -> list[Decoded]:
    """Decode planes of the same sides, padded: ``decode_plane`` of plane.py, then ``inverse``.

    previous : maps of the planes before, one for each; None where there are none.
    """
    device, count = model.device, len(streams)
    kernels = kernels_of(device)
    planes = torch.zeros((count, *sides), dtype=torch.float32, device=device)
    batch = _Batch.of(kind, planes, previous, model)
    source = _source(streams, kernels.threads, device)
    low = torch.zeros((count, *batch.layout.low), dtype=torch.int32, device=device)
    low_tables = torch.tensor([s.low_table for s in streams], dtype=torch.int32, device=device)
    kernels.decode_low(source, model.tables, low_tables, low)
    batch.low.copy_(low)
    coded = torch.tensor([s.bands for s in streams], dtype=torch.int32, device=device)
    for band in batch.layout.bands[: max(s.bands for s in streams)]:
        cells = torch.zeros((count, band.height, band.width), device=device)
        has = ((coded > band.number) & (source.cursors[:, 3] == FAULT_NONE)).to(torch.int32)
        for place, net in batch.places_of(band, cells, has):
            kernels.decode_rows(place, net, model.tables, source)
        batch.region(band).copy_(cells)
    batch.finish()
    faults = _faults(source, streams)
    return [Decoded(batch.planes[k], batch.maps.one(k), fault) for k, fault in enumerate(faults)]


def _source(streams: Sequence[Stream], threads: int, device: torch.device) -> Source:
    states = np.zeros((len(streams), _LANES, threads), np.int64)
    limits = np.zeros((len(streams), 5), np.int64)
    word = byte = 0
    for k, stream in enumerate(streams):
        states[k, : len(stream.states)] = stream.states[:, None]
        ends = word + len(stream.words), byte + len(stream.raw)
        limits[k] = len(stream.states), word, ends[0], byte, ends[1]
        word, byte = ends
    nothing = np.zeros(1)  # no array on a device is empty
    words = np.concatenate([*(s.words for s in streams), nothing.astype(np.uint16)])
    raw = np.concatenate([*(s.raw for s in streams), nothing.astype(np.uint8)])
    cursors = np.zeros((len(streams), 4), np.int64)
    arrays = states, cursors, limits, words.view(np.int16), raw
    return Source(*(torch.from_numpy(array).to(device) for array in arrays))


def _faults(source: Source, streams: Sequence[Stream]) -> list[int]:
    """Return the faults of streams; those that are whole must end where they say."""
    states = source.states[:, :, 0].cpu().numpy()
    cursors = source.cursors.cpu().numpy()
    faults = []
    for stream, last, (_, words, bits, fault) in zip(streams, states, cursors, strict=True):
        is_whole = (
            (last[: len(stream.states)] == _STATE_END).all()
            and words == len(stream.words)
            and (bits + 7) // 8 == len(stream.raw)
        )
        faults.append(int(fault) or (0 if is_whole else FAULT_LEFT))
    return faults


def encode_planes(
    kind: int,
    planes: torch.Tensor,
    previous: Maps | None,
    model: DeviceModel,
    price: float,
) -> list[CodedPlane]:
    """Choose the values of planes (n, y, x) of coefficients in steps, which become what they decode
    to: ``encode_plane`` of plane.py, then ``inverse``.
    """
    kernels, device, count = kernels_of(model.device), model.device, len(planes)
    batch = _Batch.of(kind, planes, previous, model)
    if kind == LAPPED:
        wavelet(batch.means, batch.layout.levels)
    values, low_tables, low_bits = _encode_low(batch)
    coded = torch.ones(count, dtype=torch.int32, device=device)
    all_values, all_tables = [values.flatten(1)], [low_tables[:, None].expand_as(values.flatten(1))]
    bits, has = [low_bits], []
    for band in batch.layout.bands:
        cells = batch.region(band).contiguous()
        if cells.data_ptr() == batch.region(band).data_ptr():
            cells = cells.clone()
        values = torch.zeros(cells.shape, dtype=torch.int32, device=device)
        used = torch.zeros(cells.shape, dtype=torch.uint8, device=device)
        running = torch.zeros(0)
        for place, net in batch.places_of(band, cells, coded):
            kernels.encode_rows(place, net, model.tables, price, values, used)
            running = place.running
        batch.region(band).copy_(cells)
        all_values.append(values.flatten(1))
        all_tables.append(used.flatten(1))
        bits.append(running[:, 2])
        has.append(values.flatten(1).any(1))
    batch.finish()
    return _chosen(batch, all_values, all_tables, torch.stack(bits, 1), has, low_tables)


def _encode_low(batch: _Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Round the lowest bands; returns what is coded of them, the tables, and the bits."""
    low, costs = batch.low, batch.model.tables.costs
    cut = low.clamp(-_LOW_LIMIT, _LOW_LIMIT)
    cells = (cut + torch.where(cut < 0, -0.5, 0.5)).to(torch.int32)
    predicted = torch.zeros_like(cells)
    predicted[:, 1:, 0] = cells[:, :-1, 0]
    predicted[:, 0, 1:] = cells[:, 0, :-1]
    predicted[:, 1:, 1:] = (cells[:, 1:, :-1] + cells[:, :-1, 1:] + 1) >> 1
    low.copy_(cells)
    values = cells - predicted
    tokens = _tokens(values.abs().flatten(1)).long()
    totals = torch.stack([costs[table][tokens].long().sum(1) for table in range(TABLES)], 1)
    least = (totals * TABLES + torch.arange(TABLES, device=low.device)).min(1).values
    return values, (least % TABLES).to(torch.uint8), least // TABLES


def _tokens(magnitudes: torch.Tensor) -> torch.Tensor:
    octave = (torch.frexp(magnitudes.clamp(min=1).double())[1] - 1).to(torch.int32)
    beyond = 4 * octave + ((magnitudes >> (octave - 2).clamp(min=0)) & 3)
    return torch.where(magnitudes < 16, magnitudes, beyond)


def _chosen(
    batch: _Batch,
    values: Sequence[torch.Tensor],
    tables: Sequence[torch.Tensor],
    bits: torch.Tensor,
    has: Sequence[torch.Tensor],
    low_tables: torch.Tensor,
) -> list[CodedPlane]:
    """Take planes apart, each without the last bands of nothing but zeros."""
    ends = np.cumsum([one.shape[1] for one in values])
    all_values = torch.cat(list(values), 1).cpu().numpy()
    all_tables = torch.cat(list(tables), 1).cpu().numpy()
    spent, lowest = bits.cumsum(1).cpu().numpy(), low_tables.cpu().numpy()
    filled = np.zeros((len(bits), 0), bool)
    if has:
        filled = torch.stack(list(has), 1).cpu().numpy()
    out = []
    for k in range(len(bits)):
        bands = int(filled[k].nonzero()[0].max(initial=-1)) + 1
        out.append(
            CodedPlane(
                all_values[k, : ends[bands]],
                all_tables[k, : ends[bands]],
                bands,
                int(lowest[k]),
                float(spent[k, bands]) / 256,
                batch.maps.one(k),
            )
        )
    return out
