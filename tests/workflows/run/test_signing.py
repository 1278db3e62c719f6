"""A run signs what it has sealed, or compared; it makes no wrong signature right."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tilepress.pipeline.archive.outcome import ImageResult
from tilepress.pipeline.store.seal import with_seal
from tilepress.pipeline.store.signature import Signer, Verifier
from tilepress.workflows.report.report import Report
from tilepress.workflows.report.telling import Event, Note, SilentProgress
from tilepress.workflows.run import signing
from tilepress.workflows.run.parts import finish, plan
from tilepress.workflows.run.signing import Signing

from ...pipeline.store.test_signature import write_pair
from .conftest import run

SIGNATURE = "signature.json"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return write_pair(tmp_path, "key", ssh=True)[0]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    np.save(tmp_path / "scene.npy", np.full((64, 64), 1, np.uint8))
    return tmp_path / "scene.npy"


class Told(SilentProgress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def tell(self, event: Event) -> None:
        if isinstance(event, Note):
            self.notes.append(event.text)


def state(store: Path) -> str:
    return Verifier.load(store.parents[1] / "key.pub").check(store).state


def forge(store: Path, tmp_path: Path) -> None:
    """Put a store of other samples in the place of one, sealed and with the same digest of a plan;
    the signature stays."""
    (tmp_path / "evil").mkdir()
    np.save(tmp_path / "evil/scene.npy", np.full((64, 64), 9, np.uint8))
    run(tmp_path / "evil/scene.npy", tmp_path / "evil/out", tier="fast")
    other = tmp_path / "evil/out/scene.zarr"
    statement = json.loads((store / "zarr.json").read_bytes())["attributes"]["tilepress"]
    root = json.loads((other / "zarr.json").read_bytes())
    root["attributes"]["tilepress"] |= {"plan_digest": statement["plan_digest"], "seal": "0" * 64}
    (other / "zarr.json").write_bytes(with_seal(json.dumps(root, separators=(",", ":")).encode()))
    signature = store / SIGNATURE
    if signature.exists():
        shutil.copy(signature, other)
    shutil.rmtree(store)
    shutil.copytree(other, store)


class TestWhatWasThere:
    def test_it_is_left_unsigned_and_one_line_says_so(
        self, source: Path, tmp_path: Path, key: Path
    ):
        store = tmp_path / "out/scene.zarr"
        run(source, tmp_path / "out", tier="fast")
        told = Told()
        assert run(source, tmp_path / "out", tier="fast", sign=key, progress=told).ok
        assert state(store) == "unsigned"
        (note,) = told.notes
        assert note.startswith("1 store from before this run left unsigned: compress with")

    @pytest.mark.parametrize("shards", [1, 16])
    def test_it_is_signed_once_it_was_compared(
        self, source: Path, many_shards: Path, tmp_path: Path, key: Path, shards: int
    ):
        image = source if shards == 1 else many_shards
        store = tmp_path / f"out/{image.stem}.zarr"
        assert run(image, tmp_path / "out", tier="fast", tile=64).ok
        told = Told()
        report = run(
            image, tmp_path / "out", tier="fast", tile=64, sign=key, checksum=True, progress=told
        )
        assert (report.ok, report.unchanged, told.notes) == (True, 1, [])
        assert state(store) == "signed"

    def test_one_of_other_samples_is_not(self, source: Path, tmp_path: Path, key: Path):
        store = tmp_path / "out/scene.zarr"
        run(source, tmp_path / "out", tier="fast")
        forge(store, tmp_path)
        report = run(source, tmp_path / "out", tier="fast", sign=key, checksum=True)
        assert "its samples are not those" in report.failures[0].message
        assert state(store) == "unsigned"


class TestAWrongSignature:
    """It stays, and is a failure, whoever made it; a store that is written anew has a new one."""

    @pytest.fixture
    def store(self, source: Path, tmp_path: Path, key: Path) -> Path:
        assert run(source, tmp_path / "out", tier="fast", sign=key).ok
        store = tmp_path / "out/scene.zarr"
        assert state(store) == "signed"
        return store

    def again(self, source: Path, store: Path, **options: object) -> Report:
        before = (store / SIGNATURE).read_bytes()
        report = run(source, store.parent, tier="fast", **options)
        assert (store / SIGNATURE).read_bytes() == before
        assert not report.ok
        (failure,) = report.failures
        assert failure.message.startswith(f"signing {store}: ")
        assert "is not from this run" in failure.message
        return report

    def test_a_store_that_was_put_in_place(
        self, source: Path, tmp_path: Path, key: Path, store: Path
    ):
        forge(store, tmp_path)
        self.again(source, store, sign=key)
        assert state(store) == "wrong"

    @pytest.mark.parametrize("checksum", [False, True])
    @pytest.mark.parametrize(
        "change", [{"signature": "00" * 64}, {"signature": 7}, {"seal": "0" * 64}, {"store": "b"}]
    )
    def test_a_forged_or_damaged_one(
        self, source: Path, key: Path, store: Path, change: dict[str, object], checksum: bool
    ):
        path = store / SIGNATURE
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
        self.again(source, store, sign=key, checksum=checksum)

    def test_that_of_another_key(self, source: Path, tmp_path: Path, store: Path):
        other = write_pair(tmp_path, "other", ssh=False)[0]
        report = self.again(source, store, sign=other)
        assert "signed by another key" in report.failures[0].message

    def test_force_puts_store_and_signature_right(
        self, source: Path, tmp_path: Path, key: Path, store: Path
    ):
        forge(store, tmp_path)
        assert run(source, store.parent, tier="fast", sign=key, force=True).ok
        assert state(store) == "signed"


class TestParts:
    @pytest.fixture
    def out(self, source: Path, tmp_path: Path) -> Path:
        """Return an archive whose only part has sealed its store."""
        plan(source, tmp_path / "out", tier="fast", workers=0)
        assert run(source, tmp_path / "out", tier="fast", part="0/1").ok
        return tmp_path / "out"

    def test_finish_can_be_repeated_that_was_killed_while_signing(
        self, out: Path, key: Path, monkeypatch: pytest.MonkeyPatch
    ):
        def killed(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(Signer, "sign", killed)
            with pytest.raises(KeyboardInterrupt):
                finish(out, workers=0, sign=key)
        assert state(out / "scene.zarr") == "unsigned"
        assert finish(out, workers=0, sign=key).ok
        assert state(out / "scene.zarr") == "signed"
        assert not (out / ".tilepress/plan").exists()

    def test_what_a_part_has_sealed_is_compared_first(self, out: Path, tmp_path: Path, key: Path):
        forge(out / "scene.zarr", tmp_path)
        report = finish(out, workers=0, sign=key)
        assert "its samples are not those" in report.failures[0].message
        assert state(out / "scene.zarr") == "unsigned"
        assert (out / ".tilepress/plan").exists()

    def test_a_part_says_who_signs_what_it_finds(self, source: Path, out: Path, key: Path):
        told = Told()
        run(source, out, tier="fast", part="0/1", sign=key, progress=told)
        assert "left unsigned: tilepress finish --sign" in told.notes[-1]
        assert finish(out, workers=0, sign=key).ok
        assert state(out / "scene.zarr") == "signed"

    def test_an_archive_that_is_finished(self, out: Path, key: Path):
        assert finish(out, workers=0).ok
        told = Told()
        assert finish(out, workers=0, sign=key, progress=told).ok
        assert told.notes[0].endswith(signing.BY_COMPRESS)


def test_a_store_that_was_exchanged_before_it_was_signed(source: Path, tmp_path: Path, key: Path):
    (done,) = run(source, tmp_path / "out", tier="fast").images
    store = tmp_path / "out/scene.zarr"
    forge(store, tmp_path)
    at_work = Signing(Signer.load(key), "remedy")
    at_work.add(done)
    at_work.close()
    (failure,) = at_work.failures(0)
    assert "another store is in its place" in failure.message
    assert state(store) == "unsigned"


def test_the_report_says_the_seal(source: Path, tmp_path: Path):
    def seal(**options: object) -> object:
        (done,) = run(source, tmp_path / "out", tier="fast", **options).images
        assert isinstance(done, ImageResult)
        return done.to_json()["seal"]

    first = seal()
    root = json.loads((tmp_path / "out/scene.zarr/zarr.json").read_bytes())
    assert first == root["attributes"]["tilepress"]["seal"]
    assert (seal(), seal(checksum=True)) == (None, first)
