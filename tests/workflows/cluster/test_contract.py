"""What every cluster has to give a run, and what it must not do to it."""

from __future__ import annotations

import ast
import graphlib
import importlib.metadata
from pathlib import Path

import pytest

from tilepress.workflows.cluster import contract
from tilepress.workflows.cluster.address import AddressOpener
from tilepress.workflows.cluster.choose import choose_cluster
from tilepress.workflows.cluster.contract import VersionMismatch
from tilepress.workflows.cluster.executor import DaskExecutor
from tilepress.workflows.cluster.local import LocalOpener

from .running import run_one, write_profile


class TestVersions:
    """Tasks would not mean the same to workers of other versions."""

    def test_other_versions_are_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        with LocalOpener(workers=1).open() as opened:
            opener = choose_cluster(str(write_profile(opened, tmp_path)))
            assert isinstance(opener, AddressOpener)
            monkeypatch.setattr(contract, "_own_version", lambda: "99.0")
            with (
                DaskExecutor(opener) as executor,
                pytest.raises(VersionMismatch, match=f"{importlib.metadata.version('tilepress')}"),
            ):
                run_one(executor)


def imports(folder: Path, package: str) -> dict[str, set[str]]:
    """Return the modules of a folder that each of them imports, those for types included."""
    files = {".".join((package, *p.relative_to(folder).with_suffix("").parts)): p
             for p in folder.rglob("*.py") if p.name != "__init__.py"}  # fmt: skip
    return {
        name: {
            module
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.ImportFrom)
            for module in (node.module, *(f"{node.module}.{one.name}" for one in node.names))
            if module in files
        }
        for name, file in files.items()
    }


class TestNoCircles:
    """Openers, the executor and the watch all know the contract; it knows none of them."""

    def test_no_module_imports_itself_through_others(self, repository: Path):
        folder = repository / "workflows" / "cluster"
        found = imports(folder, "tilepress.workflows.cluster")
        assert "tilepress.workflows.cluster.contract" in found["tilepress.workflows.cluster.watch"]
        tuple(graphlib.TopologicalSorter(found).static_order())  # raises CycleError
