"""Small images are grouped by how long they take: no worker waits long for another's last group."""

from __future__ import annotations

from collections.abc import Iterator

from tilepress.pipeline.archive.destination import Destination
from tilepress.pipeline.archive.images import Job, Todo
from tilepress.pipeline.archive.lease import LeaseKeeper
from tilepress.pipeline.archive.options import EncodeOptions
from tilepress.pipeline.archive.outcome import ImageResult, Outcome
from tilepress.pipeline.archive.stages import Stages
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.storage.path import storage_path
from tilepress.workflows.cluster.executor import InProcessExecutor
from tilepress.workflows.report.telling import SilentProgress
from tilepress.workflows.run.driver import Run
from tilepress.workflows.run.groups import GROUP_BYTES, GROUP_IMAGES

MIB = 2**20


class Archive:
    """Images that take a while each, and the groups that they came in."""

    def __init__(self, seconds: float | None, size: int | None = MIB) -> None:
        self.seconds = seconds
        self.size = size
        self.groups: list[int] = []

    def todos(self, count: int) -> Iterator[Todo]:
        for number in range(count):
            name = f"{number}.tif"
            yield Todo(
                SourceSpec(
                    kind="geotiff",
                    paths=(f"/in/{name}",),
                    options={"relative": name, "name": f"{number}"},
                    source_bytes=self.size,
                )
            )

    def write(self, todos: tuple[Todo, ...], job: Job, threads: int) -> list[Outcome]:
        self.groups.append(len(todos))
        return [Outcome(result=self._result(todo, threads)) for todo in todos]

    def _result(self, todo: Todo, threads: int) -> ImageResult:
        there = self.seconds is None
        return ImageResult(
            source=todo.spec.paths[0], store=todo.spec.paths[0] + ".zarr",
            status="unchanged" if there else "written", axes=("y", "x"), shape=(9, 9),
            dtype="uint8", raw_bytes=81, stored_bytes=50, shards=1, shards_reused=0,
            stages=None if self.seconds is None else Stages(code_s=self.seconds * threads),
        )  # fmt: skip

    def run(self, *counts: int) -> list[int]:
        """Run over so many images; return the sizes of the groups."""
        with LeaseKeeper() as keeper, InProcessExecutor() as executor:
            job = Job(
                destination=Destination(storage_path("/out")),
                options=EncodeOptions(),
                holder=keeper.holder,
            )
            run = Run(
                executor=executor, keeper=keeper, job=job, progress=SilentProgress(),
                group=self.write,
            )  # fmt: skip
            report = run.run(self.todos(sum(counts)))
        assert len(report.images) == sum(counts) == sum(self.groups)
        return self.groups


class TestGroups:
    """Never one image less than there is, and about a second a group."""

    def test_slow_images_stay_alone(self):
        assert set(Archive(seconds=3.0).run(200)) == {1}

    def test_images_of_a_third_of_a_second_come_in_threes(self):
        groups = Archive(seconds=0.32).run(300)
        assert groups[0] == 1
        assert set(groups[20:-1]) == {3}

    def test_fast_ones_fill_a_group(self):
        groups = Archive(seconds=0.001).run(3000)
        assert max(groups) == min(GROUP_IMAGES, GROUP_BYTES // MIB)

    def test_those_that_are_there_do(self):
        assert max(Archive(seconds=None).run(3000)) == min(GROUP_IMAGES, GROUP_BYTES // MIB)

    def test_files_of_unknown_size_are_counted_only(self):
        assert max(Archive(seconds=3.0, size=None).run(9000)) == GROUP_IMAGES

    def test_the_pace_is_the_latest_one(self):
        """Of an archive that is half there, the second half is what takes the time."""
        archive = Archive(seconds=None)
        todo = archive.write

        def half(todos: tuple[Todo, ...], job: Job, threads: int) -> list[Outcome]:
            archive.seconds = 1.0 if sum(archive.groups) >= 2000 else None
            return todo(todos, job, threads)

        archive.write = half  # type: ignore[method-assign]
        groups = archive.run(2300)
        assert max(groups) > 4
        assert set(groups[-100:]) == {1}
