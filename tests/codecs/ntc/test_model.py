"""A weights file is what it must be, or a ModelError."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load, save

from tilepress.codecs.ntc.layout import NETS, TABLE_BITS, TOKENS
from tilepress.codecs.ntc.model import COST_UNIT, NtcModel
from tilepress.codecs.weights import load_named
from tilepress.errors import ModelError

from .pictures import bundled

DATA = load_named("ntc-1").data
META = {"format": "tilepress-ntc-1"}


class TestFile:
    def test_comes_back(self) -> None:
        assert NtcModel.from_bytes(NtcModel.from_bytes(DATA).to_bytes()).to_bytes() == DATA

    def test_every_change_of_a_tensor_is_refused(self) -> None:
        tensors = load(DATA)
        for name, tensor in tensors.items():
            others = {k: v for k, v in tensors.items() if k != name}
            changed = [
                others,
                {**others, name: tensor.astype(np.float32)},
                {**others, name: tensor.ravel()[:-1]},
                {**others, name: tensor[None]},
                {**tensors, "more": tensor},
            ]
            for one in changed:
                with pytest.raises(ModelError):
                    NtcModel.from_bytes(save(one, metadata=META))

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("lapped.bias", 2**25), ("wavelet.bias", -(2**31)), ("lapped.base", 2**30),
            ("lapped.shifts", 31), ("wavelet.shifts", -1), ("lapped.second", 32767),
            ("wavelet.second", -32768), ("tables", 0), ("tables.sizes", 90), ("tables", 40_000),
        ],
    )  # fmt: skip
    def test_numbers_beyond_their_limits(self, name: str, value: int) -> None:
        tensors = load(DATA)
        tensors[name] = tensors[name].copy()
        tensors[name].flat[0] = value
        with pytest.raises(ModelError, match="loading a model"):
            NtcModel.from_bytes(save(tensors, metadata=META))

    def test_files_of_others(self) -> None:
        for data in (b"", b"{}", bytes(100), load_named("wave-3").data):
            with pytest.raises(ModelError):
                NtcModel.from_bytes(data)
        with pytest.raises(ModelError, match="not those of an ntc model"):
            NtcModel.from_bytes(save(load(DATA)))
        with pytest.raises(ModelError, match="at most"):
            NtcModel.from_bytes(bytes(2**20 + 1))


class TestTables:
    def test_costs_are_those_of_the_frequencies(self) -> None:
        model = bundled()
        for table in (0, 30, 79):
            share = model.frequencies[table].astype(float) / (1 << TABLE_BITS)
            assert model.costs[table, 0] == round(-np.log2(share[0]) * COST_UNIT)
            last = model.used[table]
            if last > 1:
                assert model.costs[table, 1] == round((1 - np.log2(share[1])) * COST_UNIT)
            if last < TOKENS:
                dearest = model.costs[table, TOKENS - 1] / COST_UNIT
                assert dearest == pytest.approx(7 - np.log2(share[last]) + 1 + 19, abs=0.01)

    def test_scales_rise_from_table_to_table(self) -> None:
        zeros = bundled().frequencies[:, 0].astype(int)
        assert (np.diff(zeros[5:70]) < 0).mean() > 0.9

    def test_a_model_may_be_held_by_many(self) -> None:
        """What native code points to lives as long as the model."""
        model = NtcModel.from_bytes(DATA)
        again = replace(model)
        assert again.structure() is not None
        assert set(again.nets) == set(NETS)
