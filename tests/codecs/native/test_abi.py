"""The contract between the library and Python: what C declares, Python calls, by one number."""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tilepress.codecs.native import library

CODECS = Path(__file__).parents[3] / "codecs"

DIGESTS = {
    1: "193a126999046def",
    2: "93401f2090d628fb",
    3: "5790e79469187c08",
    4: "264c582f1c8d8d84",
}
"""By ABI number, the digest of what C declares. When the declarations change, raise the number in
``codecs/native/export.h`` and ``library.py`` and add a row; a row that is there never changes."""

KINDS = {
    **{"int8_t *": "b", "uint8_t *": "B", "int16_t *": "h", "uint16_t *": "H", "int32_t *": "i"},
    **{"uint32_t *": "I", "int64_t *": "l", "double *": "d", "float *": "s", "int64_t": "n"},
    **{"int32_t": "w", "int": "w", "double": "f", "float": "F", "void": ""},
}
"""What C calls a kind of argument or result, and the letter of ``bind``."""

AS_BYTES = {"Example *"}
"""Structures that Python keeps in arrays of bytes."""


def sources() -> dict[Path, str]:
    """Return the C files without comments, white space made one."""
    files = sorted(CODECS.glob("**/native/*.[ch]"))
    texts = (re.sub(r"/\*.*?\*/", " ", path.read_text(), flags=re.DOTALL) for path in files)
    plain = (re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE) for text in texts)
    return {path: " ".join(text.split()) for path, text in zip(files, plain, strict=True)}


def exported(texts: dict[Path, str]) -> dict[str, tuple[str, list[str]]]:
    """Return by name the result and the arguments, names included, of what C exports."""
    found = {}
    for text in texts.values():
        for result, name, given in re.findall(r"EXPORT (\w+) (\w+)\(([^)]*)\)", text):
            found[name] = (result, [] if given == "void" else given.split(", "))
    return found


def kind_of(argument: str) -> str:
    """Return the type of an argument without its name and without const."""
    return re.sub(r"\w+$", "", argument.removeprefix("const ")).strip()


def structures(texts: dict[Path, str], names: set[str]) -> dict[str, list[str]]:
    """Return the definitions of structures by name, and of those within them."""
    all_of_them: dict[str, list[str]] = {}
    for text in texts.values():
        for body, name in re.findall(r"typedef struct \{([^}]*)\} (\w+);", text):
            all_of_them.setdefault(name, []).append(body)
    reached: dict[str, list[str]] = {}
    while left := (names & all_of_them.keys()) - reached.keys():
        for name in left:
            reached[name] = all_of_them[name]
            names = names | set(re.findall(r"\w+", " ".join(all_of_them[name])))
    return reached


def digest() -> str:
    texts = sources()
    functions = exported(texts)
    words = {
        word for _, given in functions.values() for word in re.findall(r"\w+", " ".join(given))
    }
    told = repr((sorted(functions.items()), sorted(structures(texts, words).items())))
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def bound() -> Iterator[tuple[str, str, str]]:
    """Yield name, signature and result of every call of ``bind`` in the modules."""
    for path in sorted(CODECS.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "bind":
                given = [argument.value for argument in node.args]  # type: ignore[attr-defined]
                yield given[0], given[1], given[2] if len(given) > 2 else ""


class TestOneNumber:
    """An older library that is called as the newer one ends in a crash or in wrong samples."""

    def test_c_and_python_have_the_same(self) -> None:
        (said,) = re.findall(r"\bABI = (\d+)", (CODECS / "native/export.h").read_text())
        assert int(said) == library.ABI == max(DIGESTS)

    def test_it_was_raised_when_the_declarations_changed(self) -> None:
        assert digest() == DIGESTS[library.ABI], (
            "what C exports changed: raise ABI in codecs/native/export.h and library.py, and add "
            f"{library.ABI + 1}: {digest()!r} to DIGESTS"
        )

    def test_every_number_is_of_other_declarations(self) -> None:
        assert list(DIGESTS) == list(range(1, len(DIGESTS) + 1))
        assert len(set(DIGESTS.values())) == len(DIGESTS)

    def test_the_scan_sees_functions_and_structures(self) -> None:
        texts = {Path("a.c"): "typedef struct { Inner a; } Outer; typedef struct { int b; } Inner;"}
        assert structures(texts, {"Outer"}) == {"Outer": [" Inner a; "], "Inner": [" int b; "]}
        assert exported(sources())["tp_lapped"] == (
            "int",
            ["float *plane", "int64_t height", "int64_t width"],
        )


class TestPythonCallsWhatCDeclares:
    """ctypes believes what it is told: a letter too few reads what lies on the stack."""

    @pytest.mark.parametrize(("name", "signature", "result"), list(bound()))
    def test_arguments_and_result(self, name: str, signature: str, result: str) -> None:
        declared, given = exported(sources())[name]
        kinds = [kind_of(argument) for argument in given]
        letters = ["B" if kind in AS_BYTES else KINDS.get(kind, "p") for kind in kinds]
        assert signature == "".join(letters)
        assert result in ("", KINDS[declared])  # a result that nobody looks at needs none

    def test_every_function_is_called(self) -> None:
        assert exported(sources()).keys() - {"tp_abi"} == {name for name, _, _ in bound()}
