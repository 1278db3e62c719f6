"""What a worker is set up with, what it imports, and that it runs one task at a time."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from tilepress.codecs.ntc.device import backend as torch_backend
from tilepress.codecs.ntc.device import planes
from tilepress.codecs.wave.cuda import backend
from tilepress.errors import UsageError
from tilepress.pipeline.archive.device import code_on, device
from tilepress.pipeline.archive.options import EncodeOptions
from tilepress.workflows.cluster import local as local_cluster
from tilepress.workflows.cluster.executor import DaskExecutor
from tilepress.workflows.cluster.worker import Call, run_task, set_up
from tilepress.workflows.run.compress import compress
from tilepress.workflows.run.workers import make_executor


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = device()
    yield
    code_on(before)


class TestDevice:
    """Only a worker that was given a GPU codes on one."""

    @pytest.mark.parametrize(
        ("wanted", "has_gpu", "available", "found"),
        [
            ("auto", False, True, "cpu"),
            ("auto", True, True, "cuda"),
            ("auto", True, False, "cpu"),
            ("cpu", True, True, "cpu"),
            ("cuda", True, True, "cuda"),
            ("cuda", False, True, "cpu"),
        ],
    )
    def test_choice(
        self, monkeypatch: pytest.MonkeyPatch, wanted: Any, has_gpu: bool, available: bool,
        found: str,
    ):  # fmt: skip
        monkeypatch.setattr(backend, "cuda_available", lambda: available)
        assert set_up(wanted, has_gpu) == found
        assert device() == found

    def test_a_gpu_that_cannot_be_used_is_told_where_it_was_insisted_on(
        self, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(backend, "cuda_available", lambda: False)
        with pytest.raises(UsageError, match="no CUDA device is seen"):
            set_up("cuda", has_gpu=True)

    def test_a_codec_whose_device_is_missing_codes_on_the_cpu(
        self, monkeypatch: pytest.MonkeyPatch
    ):
        """A GPU that ``wave`` can use is no use to ``ntc`` where torch is missing."""
        codec = {"codec": "ntc", "quality": 50.0}
        monkeypatch.setattr(backend, "cuda_available", lambda: True)
        monkeypatch.setattr(torch_backend, "why_no_device", lambda: "torch is not installed")
        assert set_up("auto", True, codec) == "cpu"
        with pytest.raises(UsageError, match="resource GPU, but torch is not installed"):
            set_up("cuda", True, codec)

    @pytest.mark.slow
    def test_a_codec_is_made_warm_where_it_codes(self, monkeypatch: pytest.MonkeyPatch):
        ran: list[str] = []
        for name in ("encode_planes", "decode_planes"):
            run = getattr(planes, name)
            monkeypatch.setattr(planes, name, lambda *a, n=name, r=run: (ran.append(n), r(*a))[1])
        monkeypatch.setattr(torch_backend, "why_no_device", lambda: None)
        monkeypatch.setattr(torch_backend.OPEN, "device", torch_backend.DeviceBackend("cpu"))
        assert set_up("auto", True, {"codec": "ntc", "quality": 50.0}) == "cuda"
        assert set(ran) == {"encode_planes", "decode_planes"}

    @pytest.mark.parametrize(
        ("wanted", "gpus", "found"),
        [("auto", ("0",), "cuda"), ("auto", (), "cpu"), ("cpu", ("0",), "cpu")],
    )
    def test_parts_take_the_gpu_that_their_job_has(
        self, monkeypatch: pytest.MonkeyPatch, wanted: str, gpus: tuple[str, ...], found: str
    ):
        monkeypatch.setattr(local_cluster, "visible_gpus", lambda: gpus)
        monkeypatch.setattr(backend, "cuda_available", lambda: True)
        make_executor(0, None, wanted, EncodeOptions(), None)
        assert device() == found

    def test_the_model_is_loaded_once_and_a_wrong_one_is_told(self):
        set_up("cpu", has_gpu=False, codec={"tier": "fast"})
        with pytest.raises(Exception, match="no-such-model"):
            set_up("cpu", has_gpu=False, codec={"model": "no-such-model"})


class TestOneAtATime:
    """Tasks share open sources, which threads must not use at once."""

    def test_two_threads_of_a_worker(self):
        running = 0
        most = 0
        lock = threading.Lock()
        pause = threading.Event()

        def task() -> None:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            pause.wait(0.05)
            with lock:
                running -= 1

        threads = [threading.Thread(target=run_task, args=(Call(task, ()),)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert most == 1


class TestWorkersAreLean:
    """Every worker pays for what its tasks import, in memory and in time at its start."""

    def test_they_know_no_terminal_and_nothing_of_the_command(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        sources = tmp_path / "sources"
        sources.mkdir()
        samples = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
        np.save(sources / "array.npy", samples)
        with rasterio.open(
            sources / "scene.tif", "w", driver="GTiff", dtype="uint16", width=64, height=64,
            count=1, crs="EPSG:32621", transform=rasterio.Affine(30, 0, 0, 0, -30, 0),
        ) as image:  # fmt: skip
            image.write(samples, 1)
        found: set[str] = set()
        leave = DaskExecutor.__exit__

        def look_and_leave(executor: DaskExecutor, *how: Any) -> None:
            # a lambda, which travels by value: this module would bring its own imports along
            (modules,) = executor._open().client.run(lambda: sorted(sys.modules)).values()
            found.update(modules)
            leave(executor, *how)

        monkeypatch.setattr(DaskExecutor, "__exit__", look_and_leave)
        assert len(compress(sources, tmp_path / "out", workers=1, tier="fast").images) == 2
        assert "tilepress.pipeline.archive.write" in found
        assert not found & {"typer", "rich", "torch", "pydantic"}
        assert not found & {"rasterio", "pydicom"}, "only guests read images"
        rooms = {name for name in found if name.startswith("tilepress.workflows.")}
        assert rooms == {
            "tilepress.workflows.cluster",
            "tilepress.workflows.cluster.servers",
            "tilepress.workflows.cluster.task_errors",
            "tilepress.workflows.cluster.worker",
            "tilepress.workflows.cluster.worker_plugin",
        }


FAULTS = """
import resource
from types import SimpleNamespace
import numpy as np
from tilepress.workflows.cluster.worker_plugin import SetUp

SetUp("cpu").setup(SimpleNamespace(state=SimpleNamespace(total_resources={})))
np.ones(1 << 20, np.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    np.ones(1 << 20, np.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


class TestMemoryIsUsedAgain:
    """Dask tells glibc to give everything back; the arrays of every chunk would be mapped anew."""

    @pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc that is told so")
    def test_freed_arrays_cost_no_page_faults(self):
        done = subprocess.run(
            [sys.executable, "-c", FAULTS],
            env={**os.environ, "MALLOC_TRIM_THRESHOLD_": "65536"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert int(done.stdout) < 100 * 256 / 10, "a tenth of the pages of the arrays"
