"""Launch the serial loops: a block a plane on a GPU, one plane after another on the CPU.

Arguments are torch's tensors, which stay where they are. Numba's simulator, where it is switched
on, takes the device's place on the CPU's tensors.
"""

from __future__ import annotations

import functools
from typing import Any

import numba as nb
import numpy as np
import torch
from numba import config, cuda

from tilepress.codecs.ntc.device.cells import Net, Place, Tables, make_cells
from tilepress.codecs.ntc.device.choices import make_choices
from tilepress.codecs.ntc.device.symbols import Source, make_reading
from tilepress.codecs.ntc.device.trellis import Survivors, make_trellis
from tilepress.codecs.ntc.layout import STATES
from tilepress.codecs.ntc.model import COST_UNIT

__all__ = ["Kernels", "kernels_of"]

_WARP = 32
"""Threads of a block: a hidden unit each."""
_SIMULATED_THREADS = 2


class Kernels:
    """The loops for one device.

    ``threads`` are those of a block.
    """

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        simulated = bool(config.ENABLE_CUDASIM)
        if self._on_gpu or simulated:
            self.threads = _SIMULATED_THREADS if simulated else _WARP
            loops = _for_gpu()
        else:
            self.threads = 1
            loops = _for_cpu()
        self._low, self._decode, self._encode, self._encode_dependent = loops

    def decode_low(
        self, source: Source, tables: Tables, low_tables: torch.Tensor, cells: torch.Tensor
    ) -> None:
        """Decode the lowest bands, cells (planes, height, width) int32, each under its table."""
        self._run(self._low, len(cells), *source, *tables, low_tables, cells)

    def decode_rows(self, place: Place, net: Net, tables: Tables, source: Source) -> None:
        self._run(self._decode, len(place.cells), *place, *net, *tables, *source)

    def encode_rows(
        self,
        place: Place,
        net: Net,
        tables: Tables,
        price: float,
        values: torch.Tensor,
        used: torch.Tensor,
    ) -> None:
        """Choose values, and their tables; ``price`` of a squared step in bits."""
        given = *place, *net, *tables
        if not tables.dependent:
            self._run(self._encode, len(place.cells), *given, np.float32(price), values, used)
            return
        planes, _, width = place.cells.shape
        steps = torch.empty((planes, width, STATES), dtype=torch.int64, device=values.device)
        single = np.float32(COST_UNIT * price)
        self._run(self._encode_dependent, planes, *given, single, steps, values, used)

    def _run(self, kernel: Any, planes: int, *arguments: Any) -> None:
        given = [self._array(one) if isinstance(one, torch.Tensor) else one for one in arguments]
        if self.threads > 1:
            kernel[planes, self.threads](*given)
        else:
            kernel(*given)

    def _array(self, tensor: torch.Tensor) -> Any:
        return cuda.as_cuda_array(tensor) if self._on_gpu else tensor.numpy()


@functools.lru_cache(maxsize=4)
def kernels_of(device: torch.device) -> Kernels:
    """Return the loops for a device, compiled once."""
    return Kernels(device)


@functools.lru_cache(maxsize=1)
def _for_cpu() -> tuple[Any, Any, Any, Any]:
    compiled = nb.njit(nogil=True)

    @compiled
    def total(shared: Any, thread: int, threads: int, value: int) -> int:
        return value

    @compiled
    def barrier() -> None:
        pass

    @compiled
    def times(a: Any, b: Any) -> Any:
        return np.float32(a * b)

    cells_of = make_cells(compiled, total, barrier)
    low_of, decode_of = make_reading(compiled, barrier, cells_of)
    encode_of = make_choices(compiled, barrier, times, cells_of)
    trellis_of = make_trellis(compiled, barrier, cells_of)
    shared = np.zeros(1, np.int32)

    @compiled
    def decode_low(
        states, cursors, limits, words, raw,
        cumulative, used, lookup, costs, taken_off, dependent,
        low_tables, cells,
    ):  # fmt: skip
        source = Source(states, cursors, limits, words, raw)
        tables = Tables(cumulative, used, lookup, costs, taken_off, dependent)
        for plane in range(len(cells)):
            low_of(plane, 0, source, tables, low_tables[plane], cells[plane])

    @compiled
    def decode_rows(
        sums, own, cells, coded, running, row,
        first, second, hidden_shift, output_shift, base,
        cumulative, used, lookup, costs, taken_off, dependent,
        states, cursors, limits, words, raw,
    ):  # fmt: skip
        place = Place(sums, own, cells, coded, running, row)
        net = Net(first, second, hidden_shift, output_shift, base)
        tables = Tables(cumulative, used, lookup, costs, taken_off, dependent)
        source = Source(states, cursors, limits, words, raw)
        for plane in range(len(cells)):
            if coded[plane]:
                decode_of(plane, 0, 1, shared, place, net, tables, source)

    @compiled
    def encode_rows(
        sums, own, cells, coded, running, row,
        first, second, hidden_shift, output_shift, base,
        cumulative, used, lookup, costs, taken_off, dependent,
        price, values, chosen,
    ):  # fmt: skip
        place = Place(sums, own, cells, coded, running, row)
        net = Net(first, second, hidden_shift, output_shift, base)
        tables = Tables(cumulative, used, lookup, costs, taken_off, dependent)
        for plane in range(len(cells)):
            if coded[plane]:
                encode_of(plane, 0, 1, shared, place, net, tables, price, values, chosen)

    @compiled
    def encode_dependent(
        sums, own, cells, coded, running, row,
        first, second, hidden_shift, output_shift, base,
        cumulative, used, lookup, costs, taken_off, dependent,
        price, steps, values, chosen,
    ):  # fmt: skip
        place = Place(sums, own, cells, coded, running, row)
        net = Net(first, second, hidden_shift, output_shift, base)
        tables = Tables(cumulative, used, lookup, costs, taken_off, dependent)
        room = Survivors(
            np.empty((2, STATES), np.int64),
            np.empty((2, STATES), np.int32),
            np.empty((2, STATES), np.int32),
            np.empty((STATES, 1), np.int32),
            np.empty(STATES, np.int32),
            np.empty((STATES, 2), np.int64),
            np.empty((STATES, 2), np.int32),
        )
        for plane in range(len(cells)):
            if coded[plane]:
                trellis_of(plane, 0, 1, room, place, net, tables, price, steps, values, chosen)

    return decode_low, decode_rows, encode_rows, encode_dependent


@functools.lru_cache(maxsize=1)
def _for_gpu() -> tuple[Any, Any, Any, Any]:
    jit: Any = cuda.jit

    def compiled(function: Any) -> Any:  # the simulator takes plain functions
        return function if config.ENABLE_CUDASIM else jit(device=True)(function)

    @compiled
    def total(shared: Any, thread: int, threads: int, value: int) -> int:
        shared[thread] = value
        cuda.syncthreads()
        out = np.int32(0)
        for k in range(threads):
            out = np.int32(out + shared[k])
        cuda.syncthreads()
        return out

    @compiled
    def barrier() -> None:
        cuda.syncthreads()

    if config.ENABLE_CUDASIM:

        def times(a: Any, b: Any) -> Any:
            return np.float32(a * b)
    else:
        from numba.cuda import libdevice  # the simulator has none

        rounded: Any = libdevice.fmul_rn

        @compiled
        def times(a: Any, b: Any) -> Any:
            return rounded(a, b)

    cells_of = make_cells(compiled, total, barrier)
    low_of, decode_of = make_reading(compiled, barrier, cells_of)
    encode_of = make_choices(compiled, barrier, times, cells_of)
    trellis_of = make_trellis(compiled, barrier, cells_of)

    @jit
    def decode_low(
        states, cursors, limits, words, raw,
        cumulative, used, lookup, costs, taken_off, dependent,
        low_tables, cells,
    ):  # fmt: skip
        plane = cuda.blockIdx.x
        source = Source(states, cursors, limits, words, raw)
        tables = Tables(cumulative, used, lookup, costs, taken_off, dependent)
        low_of(plane, cuda.threadIdx.x, source, tables, low_tables[plane], cells[plane])

    @jit
    def decode_rows(
        sums, own, cells, coded, running, row,
        first, second, hidden_shift, output_shift, base,
        cumulative, used, lookup, costs, taken_off, dependent,
        states, cursors, limits, words, raw,
    ):  # fmt: skip
        shared = cuda.shared.array(_WARP, nb.int32)
        plane, thread, threads = cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x
        place = Place(sums, own, cells, coded, running, row)
        net = Net(first, second, hidden_shift, output_shift, base)
        tables = Tables(cumulative, used, lookup, costs, taken_off, dependent)
        source = Source(states, cursors, limits, words, raw)
        if coded[plane]:
            decode_of(plane, thread, threads, shared, place, net, tables, source)

    @jit
    def encode_rows(
        sums, own, cells, coded, running, row,
        first, second, hidden_shift, output_shift, base,
        cumulative, used, lookup, costs, taken_off, dependent,
        price, values, chosen,
    ):  # fmt: skip
        shared = cuda.shared.array(_WARP, nb.int32)
        plane, thread, threads = cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x
        place = Place(sums, own, cells, coded, running, row)
        net = Net(first, second, hidden_shift, output_shift, base)
        tables = Tables(cumulative, used, lookup, costs, taken_off, dependent)
        if coded[plane]:
            encode_of(plane, thread, threads, shared, place, net, tables, price, values, chosen)

    @jit
    def encode_dependent(
        sums, own, cells, coded, running, row,
        first, second, hidden_shift, output_shift, base,
        cumulative, used, lookup, costs, taken_off, dependent,
        price, steps, values, chosen,
    ):  # fmt: skip
        room = Survivors(
            cuda.shared.array((2, STATES), nb.int64),
            cuda.shared.array((2, STATES), nb.int32),
            cuda.shared.array((2, STATES), nb.int32),
            cuda.shared.array((STATES, _WARP), nb.int32),
            cuda.shared.array(STATES, nb.int32),
            cuda.shared.array((STATES, 2), nb.int64),
            cuda.shared.array((STATES, 2), nb.int32),
        )
        plane, thread, threads = cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x
        place = Place(sums, own, cells, coded, running, row)
        net = Net(first, second, hidden_shift, output_shift, base)
        tables = Tables(cumulative, used, lookup, costs, taken_off, dependent)
        if coded[plane]:
            trellis_of(
                plane, thread, threads, room, place, net, tables, price, steps, values, chosen
            )

    return decode_low, decode_rows, encode_rows, encode_dependent
