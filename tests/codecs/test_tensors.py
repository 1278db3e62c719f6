"""Weights files are read, or refused, by one piece of code."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import save

from tilepress.codecs.limits import MAX_WEIGHTS_BYTES
from tilepress.codecs.tensors import format_of, read_tensors, unpack_tables
from tilepress.errors import ModelError


class TestFiles:
    def test_tensors_and_format_come_back(self) -> None:
        data = save({"a": np.arange(3)}, metadata={"format": "toy"})
        assert read_tensors(data)["a"].tolist() == [0, 1, 2]
        assert format_of(data) == "toy"
        assert format_of(save({"a": np.arange(3)})) is None

    @pytest.mark.parametrize("data", [b"", b"no weights", bytes(MAX_WEIGHTS_BYTES + 1)])
    def test_others_are_refused(self, data: bytes) -> None:
        with pytest.raises(ModelError, match="loading a model"):
            read_tensors(data)


class TestTables:
    def test_are_filled_up(self) -> None:
        flat, sizes = np.array([1, 2, 3], np.uint16), np.array([2, 1], np.uint8)
        assert unpack_tables(flat, sizes, (2, 3)).tolist() == [[1, 2, 0], [3, 0, 0]]

    @pytest.mark.parametrize(
        ("flat", "sizes", "told"),
        [([1, 2], [2, 1], "size"), ([1, 2, 3, 4], [4, 0], "size"), ([1, 0, 3], [2, 1], "of 0")],
    )
    def test_what_is_wrong(self, flat: list[int], sizes: list[int], told: str) -> None:
        with pytest.raises(ModelError, match=told):
            unpack_tables(np.array(flat, np.uint16), np.array(sizes, np.uint8), (2, 3))
