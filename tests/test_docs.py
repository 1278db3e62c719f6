"""The pages that people read: Python runs, commands exist, links lead where they should."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import sys
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import typer
import zarr
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

import tilepress
from tilepress.examples.data import landsat_bands
from tilepress.workflows.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
README_BYTES = 9000
PAGES = sorted(
    page.relative_to(ROOT).as_posix()
    for folder, pattern in [(ROOT, "*.md"), (ROOT / "docs", "**/*.md")]
    for page in folder.glob(pattern)
) + [
    name
    for name in ("codecs/README.md", "pipeline/README.md", "workflows/README.md")
    if (ROOT / name).is_file()
]
ROOMS = ("codecs", "docs", "examples", "pipeline", "src", "tests", "workflows")
NOT_YET = "not there yet"
"""A line that says so names what is planned: when it comes, the page must change."""

FOREIGN_OPTIONS = {"--kill-on-bad-exit", "--no-cov"}
"""Of other programs, where a page names one in running text."""


UID = "1.2.826.0.1.3680043.8.498.4711"
HEADER: Mapping[str, str] = {
    "PatientName": "ZZDOE^ZZJANE",
    "PatientID": "ZZ4711",
    "PatientBirthDate": "19610203",
    "StudyDate": "20220304",
    "AccessionNumber": "ZZACC",
    "InstitutionName": "ZZHOSPITAL",
    "SeriesDescription": "ZZSERIES",
    "OperatorsName": "ZZOPERATOR",
    "ImageComments": "ZZCOMMENT",
    "SOPInstanceUID": f"{UID}.1",
    "StudyInstanceUID": f"{UID}.2",
    "SeriesInstanceUID": f"{UID}.3",
}
PRIVATE = ("ZZPRIVATE", "ZZVALUE")
HEADER_MARKS = (*HEADER.values(), *PRIVATE, UID)
"""Texts of a header that may stand in ``source/`` and nowhere else."""


def write_dicom(path: Path) -> None:
    """Write a CT slice whose header holds all that a header should not tell everybody."""
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.SOPClassUID = CTImageStorage
    for keyword, value in HEADER.items():
        setattr(header, keyword, value)
    header.private_block(0x0011, PRIVATE[0], create=True).add_new(1, "LO", PRIVATE[1])
    samples = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64) % 4096
    header.Modality, header.PhotometricInterpretation = "CT", "MONOCHROME2"
    header.Rows, header.Columns = samples.shape
    header.SamplesPerPixel, header.PixelRepresentation = 1, 0
    header.BitsAllocated, header.BitsStored, header.HighBit = 16, 12, 11
    header.RescaleSlope, header.RescaleIntercept, header.RescaleType = 1, -1024, "HU"
    header.PixelSpacing, header.ImagePositionPatient = [0.5, 0.5], [0, 0, 0]
    header.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    header.PixelData = samples.tobytes()
    header.save_as(path, enforce_file_format=True)


RUN_BLOCKS = """
import contextlib, io, json, sys
for where, text in json.load(sys.stdin):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(text, where, "exec"), {"__name__": "__main__"})
    assert out.getvalue(), f"{where} shows nothing"
"""


class Block(NamedTuple):
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    text: str
    reason: str | None
    """Why it is not run; None where nothing is said."""


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str) -> Iterator[Block]:
    lines = text_of(page).splitlines()
    start = None
    for number, line in enumerate(lines):
        if not line.lstrip().startswith("```"):
            continue
        if start is None:
            start = number
            continue
        before = lines[start - 1] if start else ""
        said = re.fullmatch(r"<!-- not run: (.+) -->", before.strip())
        yield Block(
            page=page,
            line=start + 1,
            language=lines[start].strip().removeprefix("```"),
            text="\n".join(lines[start + 1 : number]) + "\n",
            reason=said[1] if said else None,
        )
        start = None
    assert start is None, f"{page}: a block is not closed"


def prose(page: str) -> str:
    """Return a page without its fenced blocks, line by line as before."""
    return re.sub(
        r"^```.*?^```$", lambda m: "\n" * m[0].count("\n"), text_of(page), flags=re.M | re.S
    )


def code_spans(page: str) -> Iterator[tuple[str, str]]:
    """Yield what stands in single backticks, each with its line."""
    for line in prose(page).splitlines():
        for span in re.findall(r"`([^`]+)`", line):
            yield span, line


def python_blocks(page: str) -> list[Block]:
    return [block for block in blocks(page) if block.language == "python"]


class TestReadmeIsShort:
    def test_it_is_read_in_a_few_minutes(self):
        assert (ROOT / "README.md").stat().st_size <= README_BYTES


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what the pages read: two stores and an archive."""
    folder = tmp_path_factory.mktemp("pages")
    sources = folder / "sources"
    sources.mkdir()
    write_dicom(sources / "a.dcm")
    for path in landsat_bands():
        shutil.copy(path, sources)
    tilepress.compress(sources, folder / "archive", stack="*_B?.tif", workers=0)
    for name, pattern in (("scene.zarr", "LC08*.zarr"), ("ct.zarr", "CT-*.zarr")):
        (store,) = (folder / "archive").glob(pattern)
        (folder / name).symlink_to(store)
    return folder


class TestPythonOfPagesRuns:
    """The first thing that a reader copies must work as it stands."""

    @pytest.mark.slow
    def test_each_block_by_itself(self, stores: Path):
        """A reader copies one block, not all of them. One process, since imports take seconds."""
        found = [
            [f"{block.page}:{block.line}", block.text]
            for page in PAGES
            for block in python_blocks(page)
            if block.reason is None
        ]
        assert {"README.md", "docs/reading.md"} <= {where.partition(":")[0] for where, _ in found}
        done = subprocess.run(
            [sys.executable, "-c", RUN_BLOCKS],
            input=json.dumps(found),
            capture_output=True,
            text=True,
            cwd=stores,
            timeout=250,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    @pytest.mark.parametrize("page", PAGES)
    def test_blocks_that_are_not_run_compile_and_say_why(self, page: str):
        for block in blocks(page):
            if block.reason is not None:
                assert len(block.reason) > 20
                compile(block.text, f"{page}:{block.line}", "exec")
            assert block.language in ("", "python"), f"{page}:{block.line}: {block.language}"


class TestCommandsOfPagesExist:
    """A page must not outlive an option that it shows."""

    @pytest.mark.parametrize("page", PAGES)
    def test_lines_of_blocks(self, page: str):
        for block in blocks(page):
            if block.language == "":
                for line in command_lines(block.text):
                    check_line(line, f"{page}:{block.line}: {line}")

    @pytest.mark.parametrize("page", PAGES)
    def test_commands_and_options_in_running_text(self, page: str):
        known = {option for command in all_commands() for option in options_of(command)}
        for span, line in code_spans(page):
            if NOT_YET in line:
                continue
            words = re.sub(r"[\[\]]", "", span).split()
            if words[0] == "tilepress" and len(words) > 1:
                command = command_of(words[1:])
                assert command is not None, f"{page}: {span}"
                for word in words[1:]:
                    if word.startswith("--") and word != "--":
                        assert word in options_of(command), f"{page}: {span}"
            elif span.startswith("--"):
                option = words[0].partition("=")[0]
                assert option in known | FOREIGN_OPTIONS, f"{page}: {span}"

    def test_what_does_not_exist_is_found(self):
        """What the tests above rest on."""
        for line in (
            "tilepress compres a b",
            "tilepress compress a b --max-errors 2",
            "tilepress compress a b --tier slow",
            "tilepress verify out --source",
            "tilepress ls out/ | tilepress lss",
            "srun -n 8 tilepress compress a b --clusters x",
            "tilepress cluster chek slurm.yaml",
            "tilepress cluster submit slurm.yaml --parts 64 -- a b --tear fast",
            "python -m tilepress.workflows.bench.scales 1",
        ):
            with pytest.raises(AssertionError):
                check_line(line, line)
        assert list(command_lines("a \\\n  b  # c\n# d\n\ne '#f'\n")) == ["a b", "e '#f'"]


class TestLinksOfPagesLead:
    @pytest.mark.parametrize("page", PAGES)
    def test_to_files_and_headings(self, page: str):
        for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
            if target.startswith("https://"):
                continue
            path, _, heading = target.partition("#")
            file = (ROOT / page).parent / path if path else ROOT / page
            assert file.exists(), f"{page}: {target}"
            if heading:
                assert heading in headings(file.read_text(encoding="utf-8")), f"{page}: {target}"

    @pytest.mark.parametrize("page", PAGES)
    def test_files_that_are_named_exist(self, page: str):
        named = [(span, line) for span, line in code_spans(page)]
        named += [
            (word, line)
            for block in blocks(page)
            for line in command_lines(block.text)
            for word in line.split()
        ]
        for text, line in named:
            for path in re.findall(rf"(?:^|(?<=\s))(?:{'|'.join(ROOMS)})/[^\s:,;]+", text):
                if re.search(r"NAME|…", path):
                    continue
                pattern = re.sub(r"\{([^}]*),[^}]*\}", r"\1", path.rstrip("/"))
                exists = any(ROOT.glob(pattern))
                assert exists != (NOT_YET in line), f"{page}: {path}"

    def test_every_page_of_docs_can_be_reached_from_the_readme(self):
        seen, waiting = set[Path](), [ROOT / "README.md"]
        while waiting:
            page = waiting.pop()
            if page in seen:
                continue
            seen.add(page)
            for target in re.findall(r"\]\(([^)#\s]+\.md)", page.read_text(encoding="utf-8")):
                waiting.append((page.parent / target).resolve())
        assert {page.resolve() for page in (ROOT / "docs").rglob("*.md")} <= seen


class TestPrivacyPageIsTrue:
    """Who shares a store or a catalogue relies on what docs/privacy.md says of it."""

    FOLDER, FILE = "ZZFOLDER", "ZZFILE.dcm"

    @pytest.fixture
    def archive(self, tmp_path: Path) -> Path:
        folder = tmp_path / "sources" / self.FOLDER
        folder.mkdir(parents=True)
        write_dicom(folder / self.FILE)
        tilepress.compress(
            tmp_path / "sources",
            tmp_path / "archive",
            workers=0,
            report=tmp_path / "report.json",
        )
        return tmp_path / "archive"

    def marks(self, data: bytes) -> set[str]:
        """Return where the marks come from that stand in some bytes."""
        texts = {"header": HEADER_MARKS, "folder": [self.FOLDER], "file": [self.FILE]}
        return {of for of, marks in texts.items() if any(m.encode() in data for m in marks)}

    def test_header_and_file_names_are_in_source_alone(self, archive: Path):
        (store,) = archive.glob("CT-*.zarr")
        for path in archive.rglob("*"):
            assert not self.marks(str(path.relative_to(archive)).encode())
            if path.is_file():
                assert not self.marks(path.read_bytes()), path
        group = zarr.open_group(store, mode="r")
        found: dict[str, set[str]] = {}
        source = zlib.decompress((store / "source/c/0").read_bytes())
        assert self.marks(source) == {"header", "file"}
        for name in ("", "0/"):
            level: Any = group[name] if name else group
            for key, array in level.arrays():
                found[f"{name}{key}"] = self.marks(np.asarray(array[...]).tobytes())
        assert "0/image" in found
        assert not any(found.values()), found

    def test_a_report_holds_no_header_and_no_name(self, archive: Path):
        """The destination and the sources as they were written may be repeated."""
        assert not self.marks((archive.parent / "report.json").read_bytes())
        table = archive.parent / "report.json.paths.jsonl"
        assert self.marks(table.read_bytes()) == {"folder", "file"}
        assert table.stat().st_mode & 0o077 == 0

    def test_plain_exports_hold_no_header(self, archive: Path):
        (store,) = archive.glob("CT-*.zarr")
        out = archive.parent / "out"
        out.mkdir()
        tilepress.export(store, out / "a.zarr", format="zarr")
        tilepress.export(store, out / "a.npy", format="npy")
        files = [path for path in out.rglob("*") if path.is_file()]
        assert len(files) > 5
        for path in files:
            assert not self.marks(path.read_bytes()), path


# the command line, as it is parsed

_COMMAND: Any = typer.main.get_command(app)
_UsageError: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")
"""What the parser raises: of the package click or of the copy that newer typers bring."""


def command_lines(text: str) -> Iterator[str]:
    """Yield the lines of a block without comments; lines that go on are joined."""
    for line in re.sub(r"\s*\\\n\s*", " ", text).splitlines():
        bare = re.sub(r"(^|\s)#(?=(?:[^']*'[^']*')*[^']*$).*$", "", line).strip()
        if bare:
            yield bare


def check_line(line: str, where: str) -> None:
    """Parse what a line says to tilepress, with all its options; run nothing."""
    if "tilepress" not in line:
        return
    words = shlex.split(line)
    for module in re.findall(r"python -m (tilepress[\w.]*)", line):
        try:
            found = importlib.util.find_spec(module)
        except ModuleNotFoundError:
            found = None
        assert found is not None, f"{where}: no module {module}"
    pieces: list[list[str]] = [[]]
    for word in words:
        if word in ("|", "&&", ";"):
            pieces.append([])
        else:
            pieces[-1].append(word)
    for piece in pieces:
        if "tilepress" in piece:
            at = piece.index("tilepress")
            parse(piece[at + 1 :], where)


def parse(arguments: list[str], where: str) -> None:
    """Parse a command and its options as the program would."""
    command = command_of(arguments)
    assert command is not None, f"{where}: no such command"
    if command in GROUPS:
        return
    depth = next(i for i in range(1, 4) if command_of(arguments[:i]) is command)
    rest = list(arguments[depth:])
    try:
        command.make_context(command.name, list(rest))
    except _UsageError as error:
        raise AssertionError(f"{where}: {error.format_message()}") from error
    if command.name == "submit" and "--" in rest:
        parse(["compress", *rest[rest.index("--") + 1 :]], where)


def command_of(words: list[str]) -> Any:
    """Return the command, or group, that the first words name; None where they name none."""
    command = _COMMAND
    for word in words:
        below = getattr(command, "commands", None)
        if below is None or word.startswith("-"):
            break
        if word not in below:
            return None
        command = below[word]
    return command


def all_commands(command: Any = _COMMAND) -> Iterator[Any]:
    yield command
    for below in getattr(command, "commands", {}).values():
        yield from all_commands(below)


GROUPS = [command for command in all_commands() if hasattr(command, "commands")]


def options_of(command: Any) -> set[str]:
    """Return the options of a command, and those of the program itself."""
    return {
        option
        for one in (command, _COMMAND)
        for parameter in one.params
        for option in (*parameter.opts, *parameter.secondary_opts)
    } | {"--help"}


def headings(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    found: set[str] = set()
    for title in re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.S), re.M):
        plain = re.sub(r"[^\w\- ]", "", title.replace("`", "").lower())
        found.add(plain.replace(" ", "-"))
    return found
