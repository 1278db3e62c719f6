"""The door to the compiled library: what does not fit is refused, and what is missing is named."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from tilepress.codecs.native import library
from tilepress.codecs.native.library import (
    FILE_VARIABLE,
    VARIABLE,
    bind,
    instruction_set,
    instruction_sets,
)
from tilepress.errors import CodecError

from ...helpers.native import compiler

MEANS = bind("tp_means", "iinwwi")


def asked(dtype: type = np.int32, step: int = 1) -> list[object]:
    out = np.zeros(4 * step, dtype)[::step]
    return [np.arange(4, dtype=np.int32), np.zeros(4, np.int32), 4, 8, 255, out]


class TestArrays:
    def test_are_filled(self) -> None:
        given = asked()
        MEANS(*given)
        assert given[-1].tolist() == [0, 1, 2, 3]

    @pytest.mark.parametrize("given", [asked(np.int64), asked(np.uint32), asked(step=2)])
    def test_of_another_kind_are_refused(self, given: list[object]) -> None:
        """Converted, what the library writes would be lost."""
        with pytest.raises(TypeError, match="tp_means: an array of"):
            MEANS(*given)

    def test_too_few_are_refused(self) -> None:
        with pytest.raises(ValueError, match="longer than"):
            MEANS(*asked()[:-1])


class TestInstructionSets:
    def test_the_best_is_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv(VARIABLE, raising=False)
        instruction_set.cache_clear()
        assert instruction_set() == len(instruction_sets()) - 1

    def test_another_can_be_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(VARIABLE, instruction_sets()[0])
        instruction_set.cache_clear()
        assert instruction_set() == 0
        instruction_set.cache_clear()

    def test_one_that_is_not_there_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(VARIABLE, "altivec")
        instruction_set.cache_clear()
        with pytest.raises(CodecError, match="TILEPRESS_INSTRUCTIONS: 'altivec', this machine has"):
            instruction_set()


class TestWithoutTheLibrary:
    @pytest.mark.parametrize(
        ("content", "why"), [(None, "is missing"), (b"no", "cannot be opened")]
    )
    def test_one_line_says_what_to_do(
        self, content: bytes | None, why: str, tmp_path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if content is not None:
            (tmp_path / "_kernel.so").write_bytes(content)
        monkeypatch.setattr(library, "find_spec", lambda name: None)
        monkeypatch.setattr(library, "__file__", str(tmp_path / "library.py"))
        library._library.cache_clear()
        with pytest.raises(CodecError, match=f"_kernel.so {why}.*install tilepress again"):
            bind("tp_kernels", "", "w")()
        library._library.cache_clear()


def refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return what is said of a file that is to be the library."""
    monkeypatch.setenv(FILE_VARIABLE, str(file))
    library._library.cache_clear()
    try:
        with pytest.raises(CodecError) as caught:
            bind("tp_kernels", "", "w")()
    finally:
        library._library.cache_clear()
    assert "make native or pip install ." in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestALibraryOfOtherSources:
    """It lies beside newer modules after an update of a source tree; calling it could crash."""

    @pytest.mark.parametrize(
        ("source", "found"),
        [
            ("int tp_abi(void) { return 999; }", "it has ABI 999, these modules call {abi}; "),
            ("int a;", "it has ABI none, these modules call {abi}; "),
            ("int tp_abi(void) { return {abi}; }", "_kernel.so has no function tp_kernels; "),
        ],
    )
    def test_is_refused_in_one_line_that_says_what_to_run(
        self, source: str, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / "_kernel.so"
        command = [*compiler(), "-shared", "-fPIC", "-x", "c", "-", "-o", str(file)]
        abi = str(library.ABI)
        subprocess.run(command, input=source.replace("{abi}", abi).encode(), check=True)
        assert found.format(abi=abi) in refused(file, monkeypatch)


class TestALibraryThatIsCutShort:
    """A full disk or a copy that was stopped leaves one; to open it would end the process."""

    @pytest.mark.parametrize("kept", [4, 63, 64, 700, 0.25, 0.5, -1])
    def test_is_refused_in_one_line(
        self, kept: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        content = Path(library._library()._name).read_bytes()
        file = tmp_path / "_kernel.so"
        file.write_bytes(content[: kept if isinstance(kept, int) else int(len(content) * kept)])
        said = refused(file, monkeypatch)
        assert f"_kernel.so is cut short: it has {file.stat().st_size} bytes of " in said
