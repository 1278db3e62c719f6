"""Parts: many processes, no scheduler, one plan; then everything is sealed, once."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import zarr

from tilepress.errors import DestinationConflict, UsageError
from tilepress.pipeline.archive import coding
from tilepress.pipeline.archive import write as task
from tilepress.pipeline.archive.destination import Destination
from tilepress.pipeline.archive.images import Job, Todo, prepare_images
from tilepress.pipeline.archive.lease import LeaseKeeper
from tilepress.pipeline.archive.outcome import Outcome
from tilepress.pipeline.archive.plan_file import Part, PlanFile
from tilepress.pipeline.storage.local import FolderPath
from tilepress.pipeline.storage.path import storage_path
from tilepress.pipeline.verify import verify
from tilepress.workflows.report.telling import Event, Note, SilentProgress
from tilepress.workflows.run import parts
from tilepress.workflows.run.compress import compress
from tilepress.workflows.run.parts import finish, plan

from ...helpers.samples import smooth

PARTS = 3

TINY_SHARDS = """
from tilepress.pipeline.image import grid as geometry
from tilepress.pipeline.archive import plan

def tiny(shape, itemsize, *, tile, block=None):
    return geometry.choose_grid(shape, itemsize, tile=tile, max_shard_bytes=64 * 64 * 2)

plan.choose_grid = tiny

from tilepress.workflows.cli.app import main

if __name__ == "__main__":
    main()
"""


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of one image of many shards and some of one."""
    from tilepress.pipeline.archive import plan as room
    from tilepress.pipeline.image import grid as geometry

    def tiny(
        shape: tuple[int, ...], itemsize: int, *, tile: int, block: object = None
    ) -> geometry.ShardGrid:
        return geometry.choose_grid(shape, itemsize, tile=tile, max_shard_bytes=64 * 64 * 2)

    monkeypatch.setattr(room, "choose_grid", tiny)
    folder = tmp_path / "sources"
    folder.mkdir()
    np.save(folder / "large.npy", smooth((256, 256)))
    for n in range(6):
        np.save(folder / f"small{n}.npy", smooth((40, 60), seed=n + 1))
    return folder


def check(sources: Path, out: str | Path) -> None:
    for source in sources.glob("*.npy"):
        store = storage_path(out) / f"{source.stem}.zarr"
        assert verify(store) == []
        group = zarr.open_group(store.zarr_store(), mode="r")
        assert np.array_equal(group["0/image"][...], np.load(source))
    assert not any(key.startswith(".tilepress") for key, _ in storage_path(out).walk())


class TestPart:
    """i/n as array jobs have it, from 0."""

    @pytest.mark.parametrize("text", ["", "1", "3/3", "-1/3", "1/0", "a/b", "1/2/3", "1.0/2"])
    def test_nonsense_is_refused(self, text: str):
        with pytest.raises(UsageError, match="want i/n"):
            Part.parse(text)

    def test_every_shard_is_one_parts(self, sources: Path, tmp_path: Path):
        head = plan(sources, tmp_path / "out", tile=64, workers=0)
        from tilepress.pipeline.archive.destination import Destination
        from tilepress.pipeline.archive.plan_file import PlanFile

        images = list(PlanFile(Destination(storage_path(tmp_path / "out"))).images(head))
        assert sum(image.shards for image in images) == head.shards == 16 + 6
        takers = [sum(image.concerns(Part(i, 5)) for i in range(5)) for image in images]
        assert sorted(takers)[:6] == [1] * 6, "an image of one shard is one part's alone"
        assert max(takers) > 1, "a large image is shared out"


class TestPartsMakeTheWhole:
    """Whatever the order, and however often: the stores are those of one run."""

    @pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 1, 0, 2)])
    def test_in_any_order(self, sources: Path, tmp_path: Path, order: tuple[int, ...]):
        out = tmp_path / "out"
        for i in order:
            assert compress(sources, out, tile=64, part=f"{i}/{PARTS}").ok
        report = finish(out, workers=0)
        assert report.ok, list(report.failures)
        assert len(report.images) == 7
        check(sources, out)

    @pytest.mark.slow
    def test_at_the_same_time(self, sources: Path, tmp_path: Path):
        """As an array job has it: processes that know nothing of each other, and no plan yet."""
        script = tmp_path / "command.py"
        script.write_text(TINY_SHARDS)
        out = tmp_path / "out"
        line = [sys.executable, str(script), "compress", str(sources), str(out), "--tile", "64"]
        parts = [
            subprocess.Popen([*line, "--part", f"{i}/{PARTS}"], stderr=subprocess.PIPE)
            for i in range(PARTS)
        ]
        for part in parts:
            told = part.communicate(timeout=120)[1].decode()
            assert part.returncode == 0, told
        assert finish(out, workers=0).ok
        check(sources, out)

    def test_the_bytes_are_those_of_one_run(self, sources: Path, tmp_path: Path):
        for i in range(PARTS):
            compress(sources, tmp_path / "parts", tile=64, part=f"{i}/{PARTS}")
        finish(tmp_path / "parts", workers=0)
        compress(sources, tmp_path / "whole", tile=64, workers=0)
        for path in sorted((tmp_path / "whole").rglob("*")):
            twin = tmp_path / "parts" / path.relative_to(tmp_path / "whole")
            if path.is_file() and "catalogue" not in path.parts:
                assert twin.read_bytes() == path.read_bytes(), path

    def test_in_a_bucket(self, sources: Path, bucket: str):
        out = f"{bucket}/out"
        for i in range(2):
            assert compress(sources, out, tile=64, part=f"{i}/2").ok
        assert finish(out, workers=0).ok
        check(sources, out)


class TestMissingParts:
    """A part that never ran is told of; nothing is sealed over a hole."""

    def test_finish_lists_what_is_missing_and_can_be_run_again(self, sources: Path, tmp_path: Path):
        out = tmp_path / "out"
        compress(sources, out, tile=64, part=f"0/{PARTS}")
        report = finish(out, workers=0)
        missing = {Path(failure.source).name: failure for failure in report.failures}
        assert missing["large.npy"].kind == "unsealed-store"
        assert "of 16 shards are missing" in missing["large.npy"].message
        assert not (out / "large.zarr" / "zarr.json").exists()
        for i in range(1, PARTS):
            compress(sources, out, tile=64, part=f"{i}/{PARTS}")
        assert finish(out, workers=0).ok
        check(sources, out)

    def test_a_plan_alone_keeps_nobody_out(self, sources: Path, tmp_path: Path):
        plan(sources, tmp_path / "out", tile=64, workers=0)
        assert compress(sources, tmp_path / "out", tile=64, workers=0).ok

    def test_without_a_plan_there_is_nothing_to_finish(self, tmp_path: Path):
        with pytest.raises(UsageError, match="there is no plan"):
            finish(tmp_path)

    def test_a_whole_run_may_end_what_parts_began(
        self, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        from tilepress.pipeline.archive import lease

        out = tmp_path / "out"
        compress(sources, out, tile=64, part=f"0/{PARTS}")
        busy = compress(sources, out, tile=64, workers=0)
        assert {failure.kind for failure in busy.failures} <= {"destination-conflict"}
        monkeypatch.setattr(lease, "STALE_AFTER_S", -1.0)
        assert compress(sources, out, tile=64, workers=0).ok


class TestThePlanIsFixed:
    """What one part would do otherwise than another would never be sealed."""

    def test_other_options_are_refused(self, sources: Path, tmp_path: Path):
        compress(sources, tmp_path / "out", tile=64, part="0/2")
        with pytest.raises(UsageError, match="tile"):
            compress(sources, tmp_path / "out", tile=32, part="1/2")

    def test_other_sources_are_refused(self, sources: Path, tmp_path: Path):
        compress(sources, tmp_path / "out", tile=64, part="0/2")
        with pytest.raises(UsageError, match="sources"):
            compress(sources / "large.npy", tmp_path / "out", tile=64, part="1/2")

    def test_images_that_come_later_are_not_in_it(self, sources: Path, tmp_path: Path):
        plan(sources, tmp_path / "out", tile=64, workers=0)
        np.save(sources / "later.npy", smooth((30, 30)))
        for i in range(2):
            compress(sources, tmp_path / "out", tile=64, part=f"{i}/2")
        assert finish(tmp_path / "out", workers=0).ok
        assert not (tmp_path / "out/later.zarr").exists()
        assert compress(sources, tmp_path / "out", tile=64, workers=0).written == 1

    def test_an_image_that_changed_is_a_failure(self, sources: Path, tmp_path: Path):
        plan(sources, tmp_path / "out", tile=64, workers=0)
        np.save(sources / "small0.npy", smooth((40, 60), seed=99))
        reports = [compress(sources, tmp_path / "out", tile=64, part=f"{i}/2") for i in range(2)]
        failures = [failure for report in reports for failure in report.failures]
        assert [failure.kind for failure in failures] == ["damaged-source"]
        assert "run tilepress plan again" in failures[0].message

    def test_a_damaged_plan_is_refused(self, sources: Path, tmp_path: Path):
        from tilepress.errors import DamagedStore

        plan(sources, tmp_path / "out", tile=64, workers=0)
        lines = tmp_path / "out/.tilepress/plan/images-000000.jsonl"
        lines.write_bytes(lines.read_bytes().replace(b"small1", b"small2"))
        compress(sources / "small0.npy", tmp_path / "out", tile=64, workers=0)
        with pytest.raises(DamagedStore, match="its images are not its own; remove that folder"):
            compress(sources, tmp_path / "out", tile=64, part="0/2")
        shutil.rmtree(lines.parent)
        for lease in (tmp_path / "out/.tilepress").rglob("lease.json"):
            os.utime(lease, (1, 1))  # two minutes later
        head = plan(sources, tmp_path / "out", tile=64, workers=0)
        assert not head.failures
        assert head.unchanged >= 1
        assert head.images + head.unchanged == 7

    def test_storage_that_fails_while_planning_leaves_no_plan(
        self, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        """One with a gap would be found out by the parts, at their end."""
        monkeypatch.setattr("tilepress.pipeline.storage.retry.STORAGE_WAIT_S", 0.0)
        monkeypatch.setattr("tilepress.pipeline.archive.plan_file.IMAGES_PER_OBJECT", 2)
        real, fails = FolderPath.write, iter([True] * 4)

        def write(self: FolderPath, data: bytes) -> None:
            if self.name == "images-000001.jsonl" and next(fails, False):
                raise OSError(errno.EIO, "Input/output error", str(self))
            real(self, data)

        monkeypatch.setattr(FolderPath, "write", write)
        with pytest.raises(OSError, match="Input/output error"):
            plan(sources, tmp_path / "out", tile=64, workers=0)
        assert PlanFile(Destination(storage_path(tmp_path / "out"))).head() is None
        assert plan(sources, tmp_path / "out", tile=64, workers=0).images == 7
        assert all(compress(sources, tmp_path / "out", tile=64, part=f"{i}/2").ok for i in range(2))

    def test_what_is_sealed_is_not_planned_again(self, sources: Path, tmp_path: Path):
        compress(sources, tmp_path / "out", tile=64, workers=0)
        head = plan(sources, tmp_path / "out", tile=64, workers=0)
        assert (head.images, head.unchanged) == (0, 7)

    def test_storage_that_fails_for_a_while_does_not_damage_it(
        self, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        plan(sources, tmp_path / "out", tile=64, workers=0)
        monkeypatch.setattr("tilepress.pipeline.storage.retry.STORAGE_WAIT_S", 0.0)
        real, fails = FolderPath.read, iter([True, True, False, *[True] * 4])

        def read(self: FolderPath) -> bytes:
            if self.name == "images-000000.jsonl" and next(fails):
                raise OSError(errno.EIO, "Input/output error", str(self))
            return real(self)

        monkeypatch.setattr(FolderPath, "read", read)
        assert compress(sources, tmp_path / "out", tile=64, part="0/2").ok
        with pytest.raises(OSError, match="Input/output error"):
            compress(sources, tmp_path / "out", tile=64, part="1/2")

    def test_force_plans_anew(self, sources: Path, tmp_path: Path):
        plan(sources, tmp_path / "out", tile=64, workers=0)
        head = plan(sources, tmp_path / "out", tile=32, workers=0, force=True)
        assert head.request["tile"] == 32


class TestOneMakesThePlan:
    """Planning an archive takes longer than a lease without a heartbeat lasts."""

    def test_its_lease_is_kept_alive(
        self, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        lease = tmp_path / "out/.tilepress/plan/lease.json"
        beats = []

        def prepare(todos: tuple[Todo, ...], job: Job, threads: int = 1) -> list[Outcome]:
            os.utime(lease, (1, 1))
            for _ in range(500):
                if lease.stat().st_mtime > 1:
                    beats.append(True)
                    break
                time.sleep(0.02)
            return prepare_images(todos, job, threads)

        monkeypatch.setattr(parts, "LeaseKeeper", partial(LeaseKeeper, interval_s=0.02))
        monkeypatch.setattr(parts, "prepare_images", prepare)
        plan(sources, tmp_path / "out", tile=64, workers=0)
        assert len(beats) == 7, "it beat while each image was planned"

    def test_whoever_lost_it_writes_no_plan(
        self, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        lease = tmp_path / "out/.tilepress/plan/lease.json"

        def prepare(todos: tuple[Todo, ...], job: Job, threads: int = 1) -> list[Outcome]:
            lease.write_text(json.dumps({**json.loads(lease.read_text()), "id": "another"}))
            return prepare_images(todos, job, threads)

        monkeypatch.setattr(parts, "prepare_images", prepare)
        with pytest.raises(DestinationConflict, match="another process makes the plan"):
            plan(sources, tmp_path / "out", tile=64, workers=0)
        assert [path.name for path in lease.parent.iterdir()] == ["lease.json"]

    def test_a_plan_that_was_fixed_meanwhile_stays(
        self, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        head = tmp_path / "out/.tilepress/plan/head.json"

        def prepare(todos: tuple[Todo, ...], job: Job, threads: int = 1) -> list[Outcome]:
            head.write_text("another's")
            return prepare_images(todos, job, threads)

        monkeypatch.setattr(parts, "prepare_images", prepare)
        with pytest.raises(DestinationConflict, match="another process makes the plan"):
            plan(sources, tmp_path / "out", tile=64, workers=0)
        assert head.read_text() == "another's"


class TestPoison:
    """Nobody restarts the process of a part but the batch system, and that again and again."""

    def test_a_shard_that_ends_its_process_is_left_out_after_some_tries(
        self, sources: Path, tmp_path: Path
    ):
        out = tmp_path / "out"
        plan(sources, out, tile=64, workers=0)
        (digest,) = [path for path in (out / ".tilepress/large.zarr").iterdir() if path.is_dir()]
        (digest / "image-1.2.tries").write_text(str(task.PART_TRIES))
        reports = [compress(sources, out, tile=64, part=f"{i}/2") for i in range(2)]
        (failure,) = [failure for report in reports for failure in report.failures]
        assert (failure.kind, failure.shard) == ("killed", "image-1.2")
        assert len(list(digest.glob("image-*.json"))) == 15, "the others are written"

    def test_so_is_a_small_image_that_one_task_writes(self, sources: Path, tmp_path: Path):
        out = tmp_path / "out"
        plan(sources, out, tile=64, workers=0)
        (digest,) = [path for path in (out / ".tilepress/small3.zarr").iterdir() if path.is_dir()]
        (digest / "image-0.0.tries").write_text(str(task.PART_TRIES))
        reports = [compress(sources, out, tile=64, part=f"{i}/2") for i in range(2)]
        (failure,) = [failure for report in reports for failure in report.failures]
        assert (failure.kind, Path(failure.source).name) == ("killed", "small3.npy")
        (failure,) = finish(out, workers=0).failures
        assert Path(failure.source).name == "small3.npy", "the others are sealed"

    def test_an_orderly_end_is_not_counted(
        self, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        out = tmp_path / "out"
        plan(sources, out, tile=64, workers=0)

        def interrupted(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(coding, "encode_shard", interrupted)
            with pytest.raises(KeyboardInterrupt):
                compress(sources, out, tile=64, part="0/1", report=tmp_path / "report.json")
        assert not list(out.rglob("*.tries"))
        report = json.loads((tmp_path / "report.json").read_text())
        assert (report["interrupted"], report["ok"], report["written"]) == (True, False, 0)
        lines = (out / ".tilepress/plan/images-000000.jsonl").read_bytes().splitlines()
        assert all(json.loads(line)["digest"] for line in lines)


class TestKilledWhileItIsForgotten:
    """The plan goes when all is sealed; a kill in the middle of that leaves some of its lines."""

    def test_finish_clears_what_is_left(self, sources: Path, tmp_path: Path):
        out = tmp_path / "out"
        assert compress(sources, out, tile=64, part="0/1").ok
        (out / ".tilepress/plan/head.json").unlink()
        assert finish(out, workers=0).ok
        assert not (out / ".tilepress/plan").exists()

    def test_to_finish_once_more_is_no_error(
        self, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        out, told = tmp_path / "out", list[str]()

        def tell(event: Event) -> None:
            if isinstance(event, Note):
                told.append(event.text)

        progress = SilentProgress()
        monkeypatch.setattr(progress, "tell", tell)
        assert compress(sources, out, tile=64, part="0/1").ok
        assert finish(out, workers=0, progress=progress).ok
        assert told == []
        assert finish(out, workers=0, progress=progress).ok
        assert [text.split(" in ")[0] for text in told] == ["nothing to finish"]

    def test_stores_of_another_plan_do_not_end_it(self, sources: Path, tmp_path: Path):
        out = tmp_path / "out"
        compress(sources, out, tile=32, workers=0)
        plan(sources, out, tile=64, workers=0, force=True)
        compress(sources, tmp_path / "other", tile=32, workers=0)
        for store in out.glob("*.zarr"):
            shutil.rmtree(store)
        for store in (tmp_path / "other").glob("*.zarr"):
            shutil.copytree(store, out / store.name)
        (out / ".tilepress/plan/head.json").unlink()
        with pytest.raises(UsageError, match="there is no plan"):
            finish(out, workers=0)

    def test_a_plan_that_was_not_completed_is_none(self, sources: Path, tmp_path: Path):
        out = tmp_path / "out"
        plan(sources, out, tile=64, workers=0)
        (out / ".tilepress/plan/head.json").unlink()
        with pytest.raises(UsageError, match="there is no plan"):
            finish(out, workers=0)
        assert list((out / ".tilepress/plan").glob("*.jsonl"))
