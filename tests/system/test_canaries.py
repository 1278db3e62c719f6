"""Nothing that tilepress tells has a name or a text of a patient: marked ones are looked for.

Tokens stand in every attribute that takes text, in sequences, private elements, the preamble, the
padding, and in names of folders and files. They may come out where docs/privacy.md says: in
``source/`` of the stores, in the table that only its owner may read, in files that are exported.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import urllib.request
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from tilepress.pipeline.dicom.source import DicomSource
from tilepress.workflows.run.compress import compress

from ..helpers import canaries
from ..helpers.canaries import Planter

PIXELS = (np.arange(48 * 64) % 4096).astype(np.uint16).reshape(48, 64)
SERIES = f"{canaries.DIGITS}9"
PAGES = (
    *("/status", "/workers", "/tasks", "/graph", "/system", "/profile", "/info/main/workers.html"),
    *("/info/main/logs.html", "/individual-progress", "/json/counts.json", "/json/index.html"),
    *("/json/identity.json", "/metrics", "/health"),
)


@dataclass
class Planted:
    """A folder of sources, and everything that was told of it."""

    root: Path
    planter: Planter
    told: dict[str, bytes] = field(default_factory=dict)
    pages: int = 0

    @property
    def sources(self) -> Path:
        return self.root / "sources"

    @property
    def archive(self) -> Path:
        return self.root / "archive"

    def run(self, name: str, *arguments: object) -> int:
        """Run a command; keep what it prints."""
        line = [sys.executable, "-m", "tilepress", *map(str, arguments)]
        done = subprocess.run(line, capture_output=True, timeout=300, cwd=self.root)
        self.told[name] = done.stdout + done.stderr
        return done.returncode

    def watch(self, name: str, *arguments: object) -> int:
        """Run a command with a dashboard, and read its pages meanwhile."""
        line = [sys.executable, "-m", "tilepress", *map(str, arguments)]
        lines = b""
        with subprocess.Popen(
            line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=self.root
        ) as process:
            assert process.stdout is not None
            for text in process.stdout:
                lines += text
                if text.startswith(b"dashboard: "):
                    self._read_pages(text.split()[1].decode().rpartition("/status")[0])
        self.told[name] = lines
        return process.returncode

    def _read_pages(self, address: str) -> None:
        for page in PAGES:
            try:
                with urllib.request.urlopen(address + page, timeout=10) as answer:
                    self.told[f"dashboard {page}"] = answer.read()
                self.pages += 1
            except OSError:
                continue


def plant(root: Path) -> Planted:
    """Write a series, and files that fail in as many ways as there are."""
    planter = Planter()
    made = Planted(root, planter)
    folder = made.sources / f"{planter.letters()}^JANE" / planter.letters()
    whole = [
        planter.dicom(folder / f"{planter.letters()}.dcm", SERIES, n, PIXELS + n) for n in (1, 2)
    ]
    data = whole[0].read_bytes()
    pixels = data.index(b"\xe0\x7f\x10\x00OW")
    damaged = {
        "cut": data[: pixels + 1000],
        "no pixels": data[:pixels],
        "half a header": data[: pixels // 2],
        "no header": data[:140],
        "other rows": data.replace(b"\x28\0\x10\0US\2\0\x30\0", b"\x28\0\x10\0US\2\0\xff\x7f"),
        "twice": data[: pixels + 12] + bytes(len(data) - pixels - 12),
    }
    for content in damaged.values():
        (folder / f"{planter.letters()}.dcm").write_bytes(content)
    (folder / f"{planter.letters()} notes").write_bytes(b"of a visit " * 20)
    (folder / f"{planter.letters()}.tif").write_bytes(b"II*\0\xff\xff\xff\x7f" + bytes(40))
    lonely = made.sources / planter.letters()
    lonely.mkdir()
    (lonely / planter.letters()).write_bytes(b"nothing " * 30)
    (lonely / f"{planter.letters()}.ima").write_bytes(b"")
    (made.sources / f"{planter.letters()} link").symlink_to(lonely / planter.letters())
    _scene(made.sources / "scene.tif", planter)
    return made


def _scene(path: Path, planter: Planter) -> None:
    """Write a GeoTIFF whose tags of free text hold tokens."""
    tags = ("DOCUMENTNAME", "IMAGEDESCRIPTION", "SOFTWARE", "ARTIST", "HOSTCOMPUTER", "COPYRIGHT")
    with rasterio.open(
        path, "w", driver="GTiff", width=64, height=48, count=1, dtype="uint16",
        crs="EPSG:32631", transform=rasterio.Affine(10, 0, 5e5, 0, -10, 4e6),
    ) as file:  # fmt: skip
        file.write(PIXELS, 1)
        file.update_tags(**{f"TIFFTAG_{name}": planter.letters() for name in tags})
        file.update_tags(NOTE=planter.letters())


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """Return sources that went all the way: compressed, checked, mended, exported."""
    made = plant(tmp_path_factory.mktemp("planted"))
    archive, report = made.archive, made.root / "report.json"
    told = ("--report", report, "--events", made.root / "events.jsonl")
    code = made.watch(
        "compress", "compress", "sources", archive, *told, "--workers", 1, "--dashboard", "-v"
    )
    assert code == 1, made.told["compress"].decode()
    # the file that claims to be another one has a store of its own
    store = next(path for path in archive.glob("CT-*.zarr") if (path / "0/z").exists())
    assert made.run("again", "compress", "sources", archive, "--workers", 0, "--debug") == 1
    assert made.run("verify", "verify", archive, "--source", "sources") == 3
    made.run("verify one", "verify", store, "--source", "sources/scene.tif")
    damaged = store / "0/image/zarr.json"
    damaged.write_bytes(b"{}")
    assert made.run("damaged", "verify", store, "--source", "sources") == 1
    assert made.run("repair", "repair", store, "--source", "sources") == 0
    made.run("info", "info", store, "--json")
    made.run("ls", "ls", archive)
    made.run("export", "export", store, made.root / "export")
    for name in list((made.root / "export").iterdir()):
        name.write_bytes(b"another file")
    made.run("export onto others", "export", store, made.root / "export")
    made.run("one store", "compress", "sources", made.root / "one.zarr", "--workers", 0)
    for name, line in {
        "plan": ("plan", "sources", made.root / "parts"),
        "part": ("compress", "sources", made.root / "parts", "--part", "0/1"),
        "finish": ("finish", made.root / "parts"),
    }.items():
        made.run(name, *line, *(("--workers", 0) if name != "part" else ()))
    for path in (report, made.root / "events.jsonl"):
        made.told[path.name] = path.read_bytes()
    return made


class TestTheSearch:
    """A search that finds nothing must be one that would have found it."""

    @pytest.mark.parametrize("token", [f"{canaries.LETTERS}00042", f"{canaries.DIGITS}00042"])
    def test_finds_what_is_planted_in_every_form(self, token: str):
        data = token.encode()
        wide = token.encode("utf-16-le"), token.encode("utf-16-be")
        forms = [data, data.lower(), data.hex().encode(), *wide]
        forms += [base64.b64encode(b"x" * shift + data) for shift in range(3)]
        forms += [base64.b64encode(b"x" * shift + one) for shift in range(3) for one in wide]
        for form in forms:
            assert canaries.in_bytes(b"log: " + form + b".")
        assert not canaries.in_bytes(b"log: nothing")

    @pytest.mark.slow
    def test_there_is_enough_to_find(self, planted: Planted):
        store = next(planted.archive.glob("CT-*.zarr"))
        assert len(set(planted.planter.tokens)) >= 1500
        headers = zlib.decompress((store / "source/c/0").read_bytes())
        found = {token for token in planted.planter.tokens if token.encode() in headers}
        assert len(found) >= 1500

    @pytest.mark.slow
    def test_asked_for_paths_it_finds_them(self, planted: Planted, tmp_path: Path):
        line = ("compress", "sources", planted.archive, "--workers", 0, "--show-paths")
        planted.run("shown", *line, "--report", tmp_path / "report.json")
        assert canaries.in_bytes(planted.told.pop("shown"))
        assert canaries.in_bytes((tmp_path / "report.json").read_bytes())
        assert not (tmp_path / "report.json.paths.jsonl").exists()


@pytest.mark.slow
class TestNothingIsTold:
    def test_on_the_terminal_in_reports_events_and_pages(self, planted: Planted):
        leaks = {
            name: lines
            for name, text in planted.told.items()
            if (lines := [line for line in text.splitlines() if canaries.in_bytes(line)])
        }
        assert not leaks, leaks
        assert len(planted.told) >= 17

    def test_pages_of_the_dashboard_were_read(self, planted: Planted):
        pytest.importorskip("bokeh", reason="the extra dashboard is not installed")
        assert planted.pages >= 5

    def test_failures_are_listed_each_by_a_number_of_its_own(self, planted: Planted):
        report = json.loads(planted.told["report.json"])
        names = [failure["source"] for failure in report["failures"]]
        assert len(names) == len(set(names)) >= 9
        rows = _rows(planted.root / "report.json.paths.jsonl")
        known = {f"file #{row['number']:08}": row["path"] for row in rows if "number" in row}
        assert set(names) <= known.keys()
        assert all(os.path.lexists(known[name]) for name in names)

    def test_an_archive_has_them_in_source_and_its_table_alone(self, planted: Planted):
        for archive in (planted.archive, planted.root / "parts"):
            leaks = canaries.in_tree(archive)
            private = {name for name in leaks if name.startswith(".tilepress/private/paths")}
            assert private
            in_source = {name for name in leaks if ".zarr/source/" in name}
            assert leaks.keys() == private | in_source, leaks
            stores = list(archive.glob("*.zarr"))
            assert len(stores) == 3
            for store in stores:
                assert canaries.in_arrays(store).keys() <= {"source/c/0"}, store

    def test_what_tells_is_for_its_owner_alone(self, planted: Planted):
        tables = list(planted.root.rglob("*paths*.jsonl"))
        assert len(tables) >= 4
        assert {table.stat().st_mode & 0o777 for table in tables} == {0o600}
        folders = list(planted.root.rglob(".tilepress/private"))
        assert {folder.stat().st_mode & 0o777 for folder in folders} == {0o700}

    def test_a_crash_that_quotes_a_header(self, planted: Planted, monkeypatch: pytest.MonkeyPatch):
        """What a library raises may quote what it read."""
        token = planted.planter.letters()

        def crash(*arguments: Any) -> Iterator[None]:
            raise RuntimeError(f"{token} in {planted.sources}/{token}")

        monkeypatch.setenv("TILEPRESS_GUESTS", "off")  # a guest would have the reader as it is
        monkeypatch.setattr(DicomSource, "read", crash)
        out = planted.root / "crashed"
        report = compress([planted.sources], out, workers=0, report=planted.root / "crash.json")
        assert any(failure.kind == "internal" for failure in report.failures)
        assert not canaries.in_bytes((planted.root / "crash.json").read_bytes())
        assert not canaries.in_bytes(repr(list(report.failures)).encode())


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
