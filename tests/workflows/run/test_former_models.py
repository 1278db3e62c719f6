"""Archives of earlier versions: the same line goes on with the model that they had."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.verify import verify
from tilepress.workflows.report.telling import Event, ShardStored, SilentProgress
from tilepress.workflows.run.parts import finish, plan

from .conftest import run, stored

TIERS = pytest.mark.parametrize(
    ("tier", "former", "now"),
    [
        ("fast", "wave-2-fast", "wave-3-fast"),
        ("standard", "wave-2", "wave-3"),
        ("max", "wave-2-max", "wave-4-max"),
        ("max", "wave-3-max", "wave-4-max"),
    ],
)


@pytest.fixture
def source(many_shards: Path) -> Path:
    return many_shards


def model_of(out: Path, source: Path) -> str:
    return str(StoreReader.open(out / f"{source.stem}.zarr").statement["model"]["name"])


class Interrupting(SilentProgress):
    def __init__(self, shards: int) -> None:
        self.left = shards

    def tell(self, event: Event) -> None:
        if isinstance(event, ShardStored):
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt


@TIERS
def test_what_is_sealed_is_unchanged(
    source: Path, tmp_path: Path, tier: str, former: str, now: str
) -> None:
    out = tmp_path / "out"
    assert run(source, out, tile=64, tier=tier, model=former).written == 1
    again = run(source, out, tile=64, tier=tier)
    assert again.ok, list(again.failures)
    assert (again.written, again.unchanged, model_of(out, source)) == (0, 1, former)
    assert run(source, out, tile=64, tier=tier, force=True).written == 1
    assert model_of(out, source) == now
    assert verify(out / f"{source.stem}.zarr") == []


def test_what_is_begun_goes_on(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run(source, out, tile=64, model="wave-2", progress=Interrupting(5))
    (image,) = run(source, out, tile=64).images
    assert image.shards_reused >= 4
    assert model_of(out, source) == "wave-2"
    assert np.array_equal(stored(out / f"{source.stem}.zarr"), np.load(source))


def test_other_models_are_other_options(source: Path, tmp_path: Path) -> None:
    """Only what a tier had is what the tier's line asks for."""
    out = tmp_path / "out"
    assert run(source, out, tile=64, model="wave-2-max").ok
    (failure,) = run(source, out, tile=64).failures
    assert "model wave-2-max" in failure.message
    (failure,) = run(source, out, tile=64, model="wave-2").failures
    assert "model wave-2-max" in failure.message


def test_parts_of_a_plan_that_replaces(source: Path, tmp_path: Path) -> None:
    """A plan by force is of this version's model, and its parts follow the plan."""
    out = tmp_path / "out"
    assert run(source, out, tile=64, model="wave-2").ok
    plan(source, out, tile=64, workers=0, force=True)
    for part in ("0/2", "1/2"):
        done = run(source, out, tile=64, workers=None, part=part)
        assert done.ok, list(done.failures)
    assert finish(out, workers=0).ok
    assert model_of(out, source) == "wave-3"


def test_a_plan_of_an_earlier_version_is_finished(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    plan(source, out, tile=64, workers=0, model="wave-2")
    for part in ("0/2", "1/2"):
        assert run(source, out, tile=64, workers=None, part=part, model="wave-2").ok
    assert finish(out, workers=0).ok
    assert run(source, out, tile=64).unchanged == 1


def test_a_tier_has_a_tile_and_stores_of_before_keep_theirs(tmp_path: Path) -> None:
    source, out = tmp_path / "image.npy", tmp_path / "out"
    np.save(source, np.random.default_rng(1).integers(0, 4, (600, 1100)).astype(np.uint8))

    def chunk() -> tuple[int, ...]:
        return StoreReader.open(out / "image.zarr").grid("image").chunk

    assert run(source, out, tier="max", tile=512).written == 1
    assert run(source, out, tier="max").unchanged == 1
    assert chunk() == (512, 512)
    (failure,) = run(source, out, tier="max", tile=256).failures
    assert "its tiles have another size" in failure.message
    assert run(source, out, tier="max", force=True).written == 1
    assert chunk() == (600, 1024)
    (failure,) = run(source, out).failures
    assert "tier" in failure.message or "model" in failure.message
