"""The house rules that no linter knows: who may import whom, who may print, what is packed."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

FORBIDDEN = {
    "codecs": (
        "tilepress.pipeline",
        "tilepress.workflows",
        "dask",
        "distributed",
        "rasterio",
        "pydicom",
    ),
    "pipeline": ("tilepress.workflows", "dask", "distributed"),
    "workflows": (),
    "examples": (),
}
"""What the modules of each room never import."""

PRINTERS = ROOT / "workflows/cli"
"""Whose modules may call print() (or write to standard output themselves)."""


def modules(room: str) -> list[Path]:
    return [path for path in sorted((ROOT / room).rglob("*.py")) if "__pycache__" not in path.parts]


@cache
def nodes_in(text: str) -> tuple[ast.AST, ...]:
    """Return the nodes of a module, which is parsed once however many rules look at it."""
    return tuple(ast.walk(ast.parse(text)))


def nodes_of(path: Path) -> tuple[ast.AST, ...]:
    return nodes_in(path.read_text())


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, absolute module name) of every import in a file, lazy ones included."""
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:  # tests may share helpers of their own room
                assert "tests" in path.parts, f"{path}:{node.lineno}: imports are absolute here"
                continue
            yield node.lineno, node.module or ""
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def inside(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


class TestImportsGoDownwards:
    """workflows → pipeline → codecs: a room that knew an upper one could not be used alone."""

    @pytest.mark.parametrize("room", FORBIDDEN)
    def test_no_module_imports_what_its_room_must_not_know(self, room: str):
        wrong = [
            f"{path.relative_to(ROOT)}:{line} imports {name}"
            for path in modules(room)
            for line, name in imported(path)
            if any(inside(name, package) for package in FORBIDDEN[room])
        ]
        assert not wrong

    @pytest.mark.parametrize("room", [*FORBIDDEN, "src", "tests"])
    def test_the_folders_are_imported_below_tilepress_only(self, room: str):
        """``import codecs`` means the standard library's, ``import pipeline`` nothing at all."""
        rooms = ("pipeline", "workflows", "examples")
        wrong = [
            f"{path.relative_to(ROOT)}:{line} imports {name}"
            for path in modules(room)
            for line, name in imported(path)
            if any(inside(name, package) for package in rooms) or name.startswith("codecs.")
        ]
        assert not wrong

    def test_the_scan_sees_lazy_and_aliased_imports(self, tmp_path: Path):
        path = tmp_path / "module.py"
        path.write_text(
            "def f():\n    from tilepress import workflows as w\n    import dask.array as da\n"
        )
        assert {name for _, name in imported(path)} >= {"tilepress.workflows", "dask.array"}


class TestOnlyTheCommandLinePrints:
    """A library that prints cannot be used inside another program."""

    @pytest.mark.parametrize("room", ["src", "codecs", "pipeline", "workflows"])
    def test_no_print(self, room: str):
        wrong = [
            f"{path.relative_to(ROOT)}:{node.lineno}"
            for path in modules(room)
            if not path.is_relative_to(PRINTERS)
            for node in nodes_of(path)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "print"
        ]
        assert not wrong


KEYS = "pipeline/store/keys.py"

GROUPS = ("consolidate", "create_group", "group", "open_group", "require_group")
"""Functions whose first argument is a key."""


def keys_in(path: Path) -> Iterator[int]:
    """Yield the lines that spell out the key of a level; what people are told is no key."""
    nodes = nodes_of(path)
    texts = {
        node.body[0].value
        for node in nodes
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    levels: list[ast.expr] = []
    for node in nodes:
        if isinstance(node, ast.Subscript):
            levels.append(node.slice)
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            levels.append(node.right)
        elif isinstance(node, ast.keyword) and node.arg in ("group", "path"):
            levels.append(node.value)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            levels += node.args[:1] if node.func.attr in GROUPS else []
    for node in nodes:
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or node in texts:
            continue
        if re.match(r"0/([a-z]|$)", node.value) or (node.value == "0" and node in levels):
            yield node.lineno


class TestKeysOfAStoreAreNamedInOnePlace:
    """A second level, or another name, must be one change."""

    @pytest.mark.parametrize("room", ["codecs", "pipeline", "workflows"])
    def test_no_other_module_spells_one_out(self, room: str):
        wrong = [
            f"{path.relative_to(ROOT)}:{line}"
            for path in modules(room)
            if path.relative_to(ROOT).as_posix() != KEYS
            for line in keys_in(path)
        ]
        assert not wrong

    def test_the_scan_sees_them(self, tmp_path: Path):
        path = tmp_path / "module.py"
        path.write_text(
            '"""0/image is fine here."""\n'
            'a = root["0/image"]\nb = f"0/{name}"\nc = store / "0"\nd = root.create_group("0")\n'
            'e = open_zarr(path, group="0")\nf = root["0"]\n'
            'g = environ.get("X", "0")\nh = "the full resolution is the group 0"\n'
        )
        assert sorted(keys_in(path)) == [2, 3, 4, 5, 6, 7]


TERMINAL = ("rich", "typer")
"""Libraries for a person at a terminal."""

KNOW_A_TERMINAL = (
    "workflows/cli",
    "workflows/report/progress.py",
    "workflows/report/notebook.py",
    "workflows/bench/demo.py",
    "workflows/bench/rate_tables.py",
    "workflows/bench/tables.py",
)
"""Folders and modules that may import them."""

A_WORKERS_TASK = """
import sys
import tilepress.pipeline.archive.write
import tilepress.workflows.cluster.worker
import tilepress.workflows.report.telling
import tilepress.workflows.run.driver
"""


class TestOnlyPeopleNeedATerminal:
    """A worker, and a program that calls ``tilepress.compress``, have none to draw on."""

    @pytest.mark.parametrize("room", ["src", *FORBIDDEN])
    def test_no_other_module_imports_what_draws_on_one(self, room: str):
        wrong = [
            f"{path.relative_to(ROOT)}:{line} imports {name}"
            for path in modules(room)
            for line, name in imported(path)
            if any(inside(name, library) for library in TERMINAL)
            and not any(path.is_relative_to(ROOT / allowed) for allowed in KNOW_A_TERMINAL)
        ]
        assert not wrong

    def test_the_exceptions_are_there_and_need_it(self):
        for allowed in KNOW_A_TERMINAL:
            path = ROOT / allowed
            files = modules(allowed) if path.is_dir() else [path]
            names = [name for file in files for _, name in imported(file)]
            assert any(inside(name, library) for name in names for library in TERMINAL), allowed

    @pytest.mark.parametrize(
        "code",
        [A_WORKERS_TASK, "import sys, tilepress; tilepress.compress"],
        ids=["a worker's task", "tilepress.compress"],
    )
    def test_neither_is_loaded(self, code: str, tmp_path: Path):
        code += "\nprint(sorted({'rich', 'typer'} & set(sys.modules)))"
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=200
        )
        assert done.stdout.strip() == "[]", done.stdout + done.stderr


class TestThePackageIsWhole:
    """What is missing from the wheel, only users would notice."""

    @pytest.fixture
    def project(self) -> dict:
        return tomllib.loads((ROOT / "pyproject.toml").read_text())

    @pytest.mark.parametrize("room", FORBIDDEN)
    def test_a_link_below_the_package_leads_to_the_room(self, room: str):
        link = ROOT / "src" / "tilepress" / room
        assert link.is_symlink()
        assert link.readlink() == Path("../..") / room

    def test_every_module_of_the_checkout_is_installed(self):
        """Holds for the plain install, too: ``make test`` runs against one."""
        names = (
            ".".join(("tilepress", *path.relative_to(ROOT).with_suffix("").parts))
            for room in FORBIDDEN
            for path in modules(room)
            if path.parent != ROOT / "examples"  # scripts, not modules
        )
        missing = [name for name in names if importlib.util.find_spec(name) is None]
        assert not missing

    def test_every_folder_of_modules_is_a_package(self):
        folders = {path.parent for room in FORBIDDEN for path in modules(room)}
        assert not [folder for folder in folders if not (folder / "__init__.py").exists()]

    def test_every_file_that_is_no_source_is_installed(self):
        """Holds for the plain install too: ``make test`` runs against one."""
        import tilepress

        package = Path(tilepress.__file__).parent
        wanted = [
            path.relative_to(ROOT)
            for room in ("codecs", "pipeline", "workflows", "examples/data")
            for path in (ROOT / room).rglob("*")
            if path.suffix in (".md", ".tsv", ".safetensors", ".tif")
        ]
        assert len(wanted) > 12
        assert not [path for path in wanted if not (package / path).exists()]
        assert (package / "py.typed").exists()

    def test_the_data_files_are_installed(self):
        from tilepress.examples import data

        assert [path.name[-6:] for path in data.landsat_bands()] == ["B2.tif", "B3.tif", "B4.tif"]

    def test_every_dependency_has_an_exact_version(self, project: dict):
        """constraints.txt makes `make demo` give the same environment next year."""
        extras = dict(project["project"]["optional-dependencies"])
        readers = extras.pop("test-readers")
        wanted = _names(
            [
                *project["project"]["dependencies"],
                *(one for extra in extras.values() for one in extra),
            ]
        )
        assert wanted <= (pinned := _pinned("constraints.txt")), sorted(wanted - pinned)
        wanted = _names([*project["project"]["dependencies"], *readers])
        assert wanted <= (pinned := _pinned("constraints-readers.txt")), sorted(wanted - pinned)


def _pinned(file: str) -> set[str]:
    """Return what a file of exact versions names."""
    found = set()
    for line in (ROOT / file).read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, number = line.partition("==")
            assert number, f"{file}: {line!r} is not exact"
            assert "+" not in number, f"{file}: {line!r} names a local build"
            found.add(name.lower().replace("_", "-"))
    return found


def _names(requirements: list[str]) -> set[str]:
    return {
        one.split(">")[0].split("=")[0].split("[")[0].strip().lower().replace("_", "-")
        for one in requirements
    }


LOSSLESS_WITHOUT_TORCH = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ImportError("torch is blocked in this test")

sys.meta_path.insert(0, Blocked())
import numpy as np
import tilepress

codec = tilepress.TileCodec()
rng = np.random.default_rng(7)
tile = (rng.integers(0, 9, (2, 64, 80)).cumsum(-1) + 400).astype(np.uint16)
back = codec.decode(codec.encode(tile))
assert back.dtype == tile.dtype and (back == tile).all()
assert "torch" not in sys.modules
"""


class TestLosslessNeedsNoTorch:
    """The plain install has no torch: a hospital's archive must open on a machine of 200 MB."""

    def test_encode_and_decode_with_torch_blocked(self, tmp_path: Path):
        done = subprocess.run(
            [sys.executable, "-c", LOSSLESS_WITHOUT_TORCH],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=200,
        )
        assert done.returncode == 0, done.stderr

    def test_importing_tilepress_is_light(self, tmp_path: Path):
        """zarr meets the codec by entry point in every process: that must not cost seconds."""
        heavy = "{'torch', 'dask', 'distributed', 'rasterio', 'pydicom', 'numba'}"
        line = f"import sys, tilepress; print(sorted({heavy} & set(sys.modules)))"
        done = subprocess.run(
            [sys.executable, "-c", line], capture_output=True, text=True, cwd=tmp_path, timeout=60
        )
        assert done.stdout.strip() == "[]", done.stdout + done.stderr


def timed_asserts(path: Path) -> Iterator[str]:
    """Yield the asserts that compare a duration with a number of seconds other than 0."""
    for node in nodes_of(path):
        if not isinstance(node, ast.Assert):
            continue
        for comparison in (n for n in ast.walk(node.test) if isinstance(n, ast.Compare)):
            sides = [comparison.left, *comparison.comparators]
            names = [getattr(side, "attr", getattr(side, "id", "")) for side in sides]
            numbers = [side.value for side in sides if isinstance(side, ast.Constant)]
            duration = any(name.endswith(("_s", "seconds", "elapsed")) for name in names)
            if duration and any(isinstance(n, (int, float)) and n for n in numbers):
                yield f"{path.name}:{node.lineno}"


class TestNoTestTrustsTheClock:
    """A machine that is busy is slow: a test that asserts seconds fails there and nowhere else."""

    def test_no_duration_is_compared_with_a_number(self):
        rooms = ("pipeline/archive", "workflows/report")
        paths = [path for room in rooms for path in modules(f"tests/{room}")]
        assert not [found for path in paths for found in timed_asserts(path)]

    def test_the_scan_sees_one(self, tmp_path: Path):
        path = tmp_path / "test_it.py"
        path.write_text("assert report.seconds < 5\nassert took_s > 0\n")
        assert list(timed_asserts(path)) == ["test_it.py:1"]


def kinds_named(path: Path, kinds: set[str]) -> Iterator[str]:
    """Yield where a module names a kind of source: compares it, gives it, or lists several."""

    def is_kind(node: ast.expr | None) -> bool:
        return isinstance(node, ast.Constant) and node.value in kinds

    for node in nodes_of(path):
        listed: list[ast.expr | None] = []
        if isinstance(node, ast.keyword):
            found = node.arg == "kind" and is_kind(node.value)
        elif isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            values = [one for side in sides for one in getattr(side, "elts", [side])]
            found = any(map(is_kind, values)) and any("kind" in ast.unparse(s) for s in sides)
        elif isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            found = any(ast.unparse(k) == "'kind'" and is_kind(v) for k, v in pairs if k)
            listed = list(node.keys)
        else:
            found = False
            listed = list(getattr(node, "elts", []))
        if found or sum(map(is_kind, listed)) > 1:
            yield f"{path.name}:{getattr(node, 'lineno', getattr(node, 'value', node).lineno)}"


class TestNobodyKnowsTheFormats:
    """What a kind of source is called, its room and the list of formats know: a new format is one
    new room and one new line."""

    def test_no_kind_is_named_elsewhere(self):
        from tilepress.pipeline.formats import FORMATS

        kinds = {kind for format_ in FORMATS for kind in format_.kinds}
        rooms = {type(format_).__module__.split(".")[2] for format_ in FORMATS}
        paths = [path for room in ("pipeline", "workflows") for path in modules(room)]
        others = [path for path in paths if not rooms & set(path.relative_to(ROOT).parts)]
        assert len(others) < len(paths)
        assert not [found for path in others for found in kinds_named(path, kinds)]

    @pytest.mark.parametrize(
        "line",
        [
            'SourceSpec(kind="stack", paths=())',
            'spec.kind == "stack"',
            'origin["kind"] in ("geotiff", "stack")',
            'x = {"kind": "dicom"}',
            'DEFAULTS = {"geotiff": 1, "dicom": 2}',
            'KINDS = ("geotiff", "dicom")',
        ],
    )
    def test_the_scan_sees_one(self, tmp_path: Path, line: str):
        (tmp_path / "it.py").write_text(f"{line}\nother = 'stack'\n")
        found = list(kinds_named(tmp_path / "it.py", {"geotiff", "stack", "dicom"}))
        assert set(found) == {"it.py:1"}


TESTED_ELSEWHERE = {
    "pipeline/archive/lossy.py": "tests/system/test_lossy.py",
    "codecs/classical/exact.py": "tests/codecs/classical/test_codec.py",
    "codecs/classical/jpegxl.py": "tests/codecs/classical/test_codec.py",
    "codecs/classical/numbers.py": "tests/codecs/classical/test_codec.py",
    "codecs/classical/payload.py": "tests/codecs/classical/test_codec.py",
    "workflows/bench/rate_codecs.py": "tests/workflows/bench/test_rate_distortion.py",
    "workflows/bench/rate_tables.py": "tests/workflows/bench/test_rate_speed.py",
    "pipeline/store/builder.py": "tests/pipeline/store/test_documents.py",
    "codecs/jpeg/render.py": "tests/codecs/jpeg/test_samples.py",
    "codecs/ntc/decoders/train.py": "tests/codecs/ntc/decoders/test_networks.py",
    "codecs/ntc/decoders/train_gan.py": "tests/codecs/ntc/decoders/test_networks.py",
    "codecs/ntc/decoders/weights.py": "tests/codecs/ntc/decoders/test_networks.py",
    "codecs/chunk.py": "tests/codecs/test_zarr_codec.py",
    "codecs/coder.py": "tests/codecs/test_registry.py",
    "codecs/difference.py": "tests/codecs/test_loss.py",
    "codecs/record.py": "tests/codecs/test_mutations.py",
    "codecs/record_decode.py": "tests/codecs/test_tile.py",
    "codecs/record_encode.py": "tests/codecs/test_tile.py",
    "codecs/ntc/device/cells.py": "tests/codecs/ntc/device/test_backend.py",
    "codecs/ntc/device/choices.py": "tests/codecs/ntc/device/test_backend.py",
    "codecs/ntc/device/features.py": "tests/codecs/ntc/device/test_backend.py",
    "codecs/ntc/device/kernels.py": "tests/codecs/ntc/device/test_backend.py",
    "codecs/ntc/device/places.py": "tests/codecs/ntc/device/test_backend.py",
    "codecs/ntc/device/planes.py": "tests/codecs/ntc/device/test_backend.py",
    "codecs/ntc/device/symbols.py": "tests/codecs/ntc/device/test_backend.py",
    "codecs/ntc/device/transform.py": "tests/codecs/ntc/device/test_backend.py",
    "codecs/ntc/device/trellis.py": "tests/codecs/ntc/device/test_backend.py",
    "codecs/wave/backend.py": "tests/codecs/wave/test_cpu.py",
    "codecs/compressai/chunk.py": "tests/codecs/compressai/test_codec.py",
    "codecs/compressai/network.py": "tests/codecs/compressai/test_codec.py",
    "codecs/mlp/chunk.py": "tests/codecs/mlp/test_codec.py",
    "codecs/mlp/layout.py": "tests/codecs/mlp/test_model.py",
    "codecs/mlp/network.py": "tests/codecs/mlp/test_model.py",
    "codecs/mlp/payload.py": "tests/codecs/mlp/test_fuzz.py",
    "codecs/mlp/plane.py": "tests/codecs/mlp/test_fuzz.py",
    "codecs/wave/codec.py": "tests/codecs/test_registry.py",
    "codecs/wave/cuda/batches.py": "tests/codecs/wave/cuda/checks.py",
    "codecs/wave/cuda/decode.py": "tests/codecs/wave/cuda/checks.py",
    "codecs/wave/cuda/encode.py": "tests/codecs/wave/cuda/checks.py",
    "codecs/wave/cuda/launch.py": "tests/codecs/wave/cuda/checks.py",
    "codecs/wave/cuda/scalar.py": "tests/codecs/wave/cuda/checks.py",
    "codecs/wave/cuda/shared.py": "tests/codecs/wave/cuda/checks.py",
    "codecs/wave/layout.py": "tests/codecs/wave/native/test_planes.py",
    "codecs/wave/model.py": "tests/codecs/test_weights.py",
    "codecs/wave/native/structures.py": "tests/codecs/wave/native/test_planes.py",
    "codecs/wave/values.py": "tests/codecs/test_properties.py",
    "pipeline/archive/evidence.py": "tests/pipeline/archive/test_repair.py",
    "pipeline/archive/outcome.py": "tests/workflows/report/test_report.py",
    "pipeline/archive/restore.py": "tests/pipeline/archive/test_repair.py",
    "pipeline/archive/weights.py": "tests/workflows/learn/test_tune.py",
    "codecs/jpeg/huffman.py": "tests/codecs/jpeg/test_stream.py",
    "codecs/jpeg/meaning.py": "tests/codecs/jpeg/test_codec.py",
    "codecs/jpeg/planes.py": "tests/codecs/jpeg/test_coefficients.py",
    "pipeline/arrays/export.py": "tests/pipeline/test_export.py",
    "pipeline/catalogue/footprint.py": "tests/pipeline/catalogue/test_stac.py",
    "pipeline/catalogue/index.py": "tests/pipeline/catalogue/test_update.py",
    "pipeline/catalogue/stores.py": "tests/pipeline/catalogue/test_update.py",
    "pipeline/dicom/coordinates.py": "tests/pipeline/dicom/test_axes.py",
    "pipeline/dicom/copies.py": "tests/pipeline/dicom/test_groups.py",
    "pipeline/dicom/decode.py": "tests/pipeline/dicom/test_codestreams.py",
    "pipeline/dicom/elements.py": "tests/pipeline/dicom/test_deidentify.py",
    "pipeline/dicom/frame_reader.py": "tests/pipeline/dicom/test_source.py",
    "pipeline/dicom/header.py": "tests/pipeline/dicom/test_source.py",
    "pipeline/dicom/slide_header.py": "tests/pipeline/dicom/test_slide_write.py",
    "pipeline/dicom/slide_tiles.py": "tests/pipeline/dicom/test_slide_write.py",
    "pipeline/dicom/planes.py": "tests/pipeline/dicom/test_geometry.py",
    "pipeline/dicom/rewrite.py": "tests/pipeline/dicom/test_export.py",
    "pipeline/dicom/slide_levels.py": "tests/pipeline/dicom/test_slide_source.py",
    "pipeline/dicom/slide_recipe.py": "tests/pipeline/dicom/test_slide_source.py",
    "pipeline/dicom/tiling.py": "tests/pipeline/dicom/test_slide_source.py",
    "pipeline/dicom/stored.py": "tests/pipeline/dicom/test_instances.py",
    "pipeline/dicom/values.py": "tests/pipeline/dicom/test_labels.py",
    "pipeline/find/walk.py": "tests/pipeline/find/test_inputs.py",
    "pipeline/guests/host.py": "tests/pipeline/guests/test_client.py",
    "pipeline/guests/landlock.py": "tests/pipeline/guests/test_guest.py",
    "pipeline/guests/seccomp.py": "tests/pipeline/guests/test_guest.py",
    "pipeline/find/looked.py": "tests/pipeline/find/test_discover.py",
    "pipeline/geotiff/format.py": "tests/pipeline/test_formats.py",
    "pipeline/geotiff/gdal.py": "tests/pipeline/geotiff/test_source.py",
    "pipeline/geotiff/metadata.py": "tests/pipeline/geotiff/test_export.py",
    "pipeline/geotiff/raster_file.py": "tests/pipeline/geotiff/test_source.py",
    "pipeline/geotiff/record.py": "tests/pipeline/geotiff/test_export.py",
    "pipeline/geotiff/ndpi_export.py": "tests/pipeline/geotiff/test_ndpi_streams.py",
    "pipeline/geotiff/ndpi_head.py": "tests/pipeline/geotiff/test_ndpi.py",
    "pipeline/geotiff/ndpi_scan.py": "tests/pipeline/geotiff/test_ndpi_streams.py",
    "pipeline/geotiff/slide_record.py": "tests/pipeline/geotiff/test_slide_source.py",
    "pipeline/geotiff/slide_told.py": "tests/pipeline/geotiff/test_slide_source.py",
    "pipeline/geotiff/tiff_writer.py": "tests/pipeline/geotiff/test_slide_export.py",
    "pipeline/image/source.py": "tests/pipeline/image/test_format.py",
    "pipeline/dicom/described.py": "tests/pipeline/dicom/test_source.py",
    "pipeline/dicom/frame_codecs.py": "tests/pipeline/dicom/test_recode.py",
    "pipeline/catalogue/lists.py": "tests/pipeline/catalogue/test_update.py",
    "pipeline/catalogue/stac_assets.py": "tests/pipeline/catalogue/test_stac.py",
    "pipeline/archive/digests.py": "tests/pipeline/archive/test_plan.py",
    "pipeline/export_ledger.py": "tests/pipeline/test_export_archive.py",
    "pipeline/export_staging.py": "tests/pipeline/test_export_archive.py",
    "pipeline/store/told_image.py": "tests/pipeline/archive/test_add_levels.py",
    "pipeline/storage/local.py": "tests/pipeline/storage/test_path.py",
    "pipeline/storage/s3.py": "tests/pipeline/storage/test_path.py",
    "pipeline/patches/chunks.py": "tests/pipeline/patches/test_patches.py",
    "pipeline/patches/reader.py": "tests/pipeline/patches/test_patches.py",
    "pipeline/patches/stored.py": "tests/pipeline/patches/test_patches.py",
    "pipeline/patches/stores.py": "tests/pipeline/patches/test_patches.py",
    "pipeline/store/items.py": "tests/pipeline/store/test_reader.py",
    "pipeline/store/shard_check.py": "tests/pipeline/store/test_shard.py",
    "pipeline/store/shard_encode.py": "tests/pipeline/store/test_shard.py",
    "pipeline/store/sealed.py": "tests/pipeline/store/test_reader.py",
    "pipeline/store/summary.py": "tests/pipeline/catalogue/test_stac.py",
    "pipeline/store/scaled.py": "tests/pipeline/read/test_scaled.py",
    "workflows/bench/jpeg_streams.py": "tests/workflows/bench/test_jpeg.py",
    "workflows/report/report_file.py": "tests/workflows/report/test_report.py",
    "workflows/cli/bench.py": "tests/workflows/bench/test_compare.py",
}
"""Modules that are parts of what another file of tests is about, and that file."""

NEEDS_TESTS = 100
"""Lines of a module that has tests of its own, or is listed above."""


class TestEveryModuleIsTested:
    """Who changes a module must find the tests that hold it."""

    @pytest.mark.parametrize("room", FORBIDDEN)
    def test_a_module_has_tests_under_its_name_or_is_listed(self, room: str):
        missing = [
            name
            for path in modules(room)
            if len(path.read_text().splitlines()) > NEEDS_TESTS
            and (name := path.relative_to(ROOT).as_posix()) not in TESTED_ELSEWHERE
            and not mirrored(name).exists()
        ]
        assert not missing

    @pytest.mark.parametrize(("name", "tests"), TESTED_ELSEWHERE.items())
    def test_the_list_is_true(self, name: str, tests: str):
        assert (ROOT / name).exists()
        assert (ROOT / tests).exists()
        assert not mirrored(name).exists(), f"{name} has tests of its own: take it off the list"


def mirrored(module: str) -> Path:
    """Return where the tests of a module lie."""
    path = Path(module)
    return ROOT / "tests" / path.parent / f"test_{path.name}"


def imported_modules(path: Path, known: dict[str, Path]) -> set[str]:
    """Return the modules of ours that a file imports, lazily too; not those for type checkers."""
    nodes = nodes_of(path)
    for_checkers = {
        id(inner)
        for node in nodes
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    found = set()
    for node in nodes:
        if id(node) in for_checkers:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            found |= {name if name in known else node.module for name in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & known.keys()


def circle(arrows: dict[str, set[str]]) -> list[str]:
    """Return nodes that lead to one another, or [] where there are none."""
    left = {node: set(targets) for node, targets in arrows.items()}
    while ends := [node for node, targets in left.items() if not targets]:
        for node in ends:
            del left[node]
        for targets in left.values():
            targets -= set(ends)
    return sorted(left)


class TestModulesImportInNoCircle:
    """What imports each other can only be read, tested and moved together."""

    def test_lazy_imports_included(self):
        known = {
            ".".join(("tilepress", *path.relative_to(ROOT).with_suffix("").parts)): path
            for room in FORBIDDEN
            for path in modules(room)
        }
        arrows = {name: imported_modules(path, known) - {name} for name, path in known.items()}
        assert circle(arrows) == []

    def test_the_scan_finds_one(self):
        assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["a", "b", "c"]


ROOMS_OF_PIPELINE = (
    "storage",  # where bytes lie
    "packed",  # what is in gzip, zip and tar files
    "image",  # what an image is
    "privacy",  # what identifies, whatever the format
    "store",  # the store of one image
    "geotiff",
    "openslide",
    "dicom",
    "arrays",
    "volumes",  # stores as NIfTI and NRRD
    "formats",  # the list of the five above
    "guests",  # child processes that read foreign files
    "find",  # what the user named → images
    "sources",  # one door to every image
    "read",  # samples of a store for people
    "kept",  # files of an archive that are no images
    "catalogue",
    "patches",  # samples of many stores for training
    "archive",  # many stores together
    "verify",
    "repair",
    "levels",
    "endings",  # what a destination's name says
    "other_bands",  # bands of a scene in stores beside an image's
    "export",
    "export_staging",  # a store of an archive, written aside
    "export_ledger",  # what is written of an archive
    "export_archive",
)
"""The rooms of pipeline/, each above all that it may import."""


ROOMS_OF_WORKFLOWS = (
    "interrupts",
    "environment",  # what the command is started in
    "unguarded",  # scripts that workers cannot read
    "report",  # what a run tells
    "cluster",  # where tasks run
    "learn",
    "run",  # one call, from the request to the report
    "bench",
    "serve",  # stores in a browser
    "cli",
)
"""The rooms of workflows/, each above all that it may import."""

ROOMS = {"pipeline": ROOMS_OF_PIPELINE, "workflows": ROOMS_OF_WORKFLOWS}


def room_of(name: str, floor: str) -> str | None:
    """Return the room of a floor that a module lies in."""
    parts = name.split(".")
    return parts[2] if parts[:2] == ["tilepress", floor] and len(parts) > 2 else None


@pytest.mark.parametrize("floor", ROOMS)
class TestRoomsHaveAnOrder:
    """A room that imported an upper one could not be read, tested or moved alone."""

    def test_every_room_is_in_the_list(self, floor: str):
        found = {path.relative_to(ROOT / floor).parts[0] for path in modules(floor)}
        assert {name.removesuffix(".py") for name in found} - {"__init__"} == set(ROOMS[floor])

    def test_no_room_imports_one_above_it(self, floor: str):
        height = {room: number for number, room in enumerate(ROOMS[floor])}
        wrong = []
        for path in modules(floor):
            own = path.relative_to(ROOT / floor).parts[0].removesuffix(".py")
            for line, name in imported(path):
                other = room_of(name, floor)
                if other in height and height[other] > height.get(own, -1):
                    wrong.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
        assert not wrong
