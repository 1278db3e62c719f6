"""The files of ``wave`` build on one another in one direction."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import tilepress.codecs.wave

FOLDER = Path(tilepress.codecs.wave.__path__[0])
PACKAGE = "tilepress.codecs.wave"


def module_name(path: Path) -> str:
    return ".".join((PACKAGE, *path.relative_to(FOLDER).with_suffix("").parts))


def imported(path: Path) -> set[str]:
    """Return every name that a file imports, inside functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return names


class TestNoFileBuildsOnItself:
    """Not even by an import inside a function: who reads one file need not know those above it."""

    def test_imports_form_no_circle(self) -> None:
        files = {module_name(path): path for path in sorted(FOLDER.rglob("*.py"))}
        needs = {name: imported(path) & files.keys() for name, path in files.items()}
        assert sum(map(len, needs.values())) > 50
        try:
            TopologicalSorter(needs).prepare()
        except CycleError as error:
            raise AssertionError(" → ".join(error.args[1])) from None
