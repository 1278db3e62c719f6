"""Run chunk work of every caller in one pool of threads per process."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tilepress.codecs import threads as pool


@pytest.fixture(autouse=True)
def _default_threads() -> Iterator[None]:
    yield
    pool.set_threads(None)


class TestOnePoolServesAll:
    def test_never_more_at_a_time_than_threads(self) -> None:
        pool.set_threads(3)
        running, worst, lock = 0, 0, threading.Lock()

        def work(_: int) -> str:
            nonlocal running, worst
            with lock:
                running += 1
                worst = max(worst, running)
            time.sleep(0.005)
            with lock:
                running -= 1
            return threading.current_thread().name

        async def several() -> list[list[str]]:
            return await asyncio.gather(*(pool.gather_chunks(work, range(4)) for _ in range(4)))

        with ThreadPoolExecutor(4) as users:
            futures = [users.submit(pool.map_chunks, work, range(4)) for _ in range(3)]
            futures.append(users.submit(pool.run_chunk, work, 0))
            asyncio.run(several())
            for future in futures:
                future.result()
        assert 1 < worst <= 3

    def test_results_keep_their_order(self) -> None:
        def work(item: int) -> int:
            time.sleep(0.002 * (item % 3))
            return item

        assert pool.map_chunks(work, range(20)) == list(range(20))
        assert asyncio.run(pool.gather_chunks(work, range(20))) == list(range(20))

    def test_threads_come_from_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TILEPRESS_THREADS", "5")
        assert pool.threads() == 5
        monkeypatch.setenv("TILEPRESS_THREADS", "many")
        assert pool.threads() >= 1
        with pytest.raises(ValueError, match="want ≥ 1"):
            pool.set_threads(0)


class TestErrors:
    def test_reach_the_caller_after_all_work_has_ended(self) -> None:
        pool.set_threads(2)
        ended: list[int] = []

        def work(item: int) -> None:
            if item == 0:
                raise ValueError("first")
            time.sleep(0.01)
            ended.append(item)

        with pytest.raises(ValueError, match="first"):
            pool.map_chunks(work, range(4))
        count = len(ended)
        time.sleep(0.05)
        assert len(ended) == count

    def test_reach_a_coroutine(self) -> None:
        def work(item: int) -> None:
            raise ValueError(str(item))

        with pytest.raises(ValueError, match="0"):
            asyncio.run(pool.gather_chunks(work, range(8)))


class TestNoDeadlock:
    def test_work_that_asks_the_pool_itself(self) -> None:
        """A pool thread that waited for its own pool would wait for ever."""
        pool.set_threads(1)

        def outer(item: int) -> int:
            return sum(pool.map_chunks(lambda n: n * item, range(5)))

        assert pool.map_chunks(outer, range(6)) == [10 * n for n in range(6)]

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    @pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
    def test_in_a_forked_child(self) -> None:
        """The child inherits the pool's object and none of its threads."""
        assert pool.run_chunk(abs, -1) == 1
        child = os.fork()
        if child == 0:
            os._exit(0 if pool.map_chunks(abs, [-3, 4]) == [3, 4] else 1)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                assert os.waitstatus_to_exitcode(status) == 0
                return
            time.sleep(0.01)
        os.kill(child, 9)
        os.waitpid(child, 0)
        pytest.fail("the forked child hangs")
