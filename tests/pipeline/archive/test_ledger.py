"""The ledger: a finished shard is known, and what is torn is not taken for one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tilepress.pipeline.archive.ledger import Ledger, remove_plans
from tilepress.pipeline.archive.options import EncodeOptions
from tilepress.pipeline.archive.plan import ImagePlan, ShardRef, ledger_folder, make_plan
from tilepress.pipeline.find.discover import discover
from tilepress.pipeline.image.grid import ShardGrid
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.sources.open import open_source
from tilepress.pipeline.storage.path import storage_path
from tilepress.pipeline.store.manifest import ShardEntry

ENTRY = ShardEntry(
    array="image", index=(0, 1), length=617, sha256="ab" * 32, samples_sha256="cd" * 32,
    raw_bytes=4096, max_error=2.0, squared_error=12.5,
)  # fmt: skip

BYTES = (
    b'{"array":"image","index":[0,1],"length":617,"sha256":"' + b"ab" * 32 + b'",'
    b'"samples_sha256":"' + b"cd" * 32 + b'","raw_bytes":4096,"max_error":2.0,"squared_error":12.5}'
)
"""What an entry has always been in storage: a run may go on with the ledger of an older version."""


@pytest.fixture
def plan(tmp_path: Path) -> ImagePlan:
    np.save(tmp_path / "a.npy", np.zeros((40, 40), np.uint16))
    (spec,) = discover([tmp_path / "a.npy"])
    assert isinstance(spec, SourceSpec)
    source = open_source(spec)
    plan = make_plan(source, storage_path(tmp_path / "a.zarr"), EncodeOptions())
    source.close()
    return replace(plan, grid=ShardGrid((40, 40), (16, 16), (16, 16)))


@pytest.fixture
def folder(plan: ImagePlan) -> Path:
    return Path(str(ledger_folder(plan.store))) / plan.digest


class TestAFinishedShardIsKnown:
    def test_in_the_bytes_that_it_was_always_noted_in(self, plan: ImagePlan, folder: Path):
        Ledger(plan).record(ENTRY)
        assert (folder / "image-0.1.json").read_bytes() == BYTES
        found = Ledger(plan).get(ShardRef("image", (0, 1)))
        assert found == ENTRY
        assert found is not None
        assert (found.max_error, found.squared_error) == (2.0, 12.5)

    def test_with_a_word_where_another_decoder_may_give_other_samples(self, plan: ImagePlan):
        Ledger(plan).record(replace(ENTRY, irreversible=True))
        found = Ledger(plan).get(ShardRef("image", (0, 1)))
        assert found is not None
        assert (found.irreversible, found.recoded) == (True, False)

    def test_with_a_word_where_streams_were_not_kept(self, plan: ImagePlan):
        Ledger(plan).record(replace(ENTRY, recoded=True))
        found = Ledger(plan).get(ShardRef("image", (0, 1)))
        assert found is not None
        assert (found.irreversible, found.recoded) == (False, True)

    def test_by_every_reader_of_the_plan(self, plan: ImagePlan):
        ledger = Ledger(plan)
        ledger.record(ENTRY)
        assert list(ledger.entries(plan)) == [ENTRY]
        assert ShardRef("image", (0, 1)) not in ledger.missing(plan.shards())

    @pytest.mark.parametrize("data", [b"", BYTES[:-9], b"[]", b"{}", b"\xff"])
    def test_but_not_where_its_note_is_torn(self, plan: ImagePlan, folder: Path, data: bytes):
        Ledger(plan).record(ENTRY)
        (folder / "image-0.1.json").write_bytes(data)
        assert Ledger(plan).get(ShardRef("image", (0, 1))) is None

    def test_until_the_plan_is_forgotten(self, plan: ImagePlan):
        ledger = Ledger(plan)
        ledger.create()
        assert ledger.exists
        remove_plans(plan.store)
        assert not ledger.exists


class TestAShardThatEndsItsProcess:
    def test_is_counted_until_it_ends(self, plan: ImagePlan):
        ledger, ref = Ledger(plan), ShardRef("image", (0, 1))
        assert [ledger.begin(ref) for _ in range(3)] == [0, 1, 2]
        ledger.end(ref)
        assert ledger.begin(ref) == 0
