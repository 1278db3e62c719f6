"""Run chunk work of every caller in one pool of threads per process.

Zarr hands a codec one chunk per call, from many coroutines and user threads at once. All of them
submit here, so that a process never codes more chunks at a time than it has cores, whoever asks.
TileCodec releases the GIL, hence threads. On a GPU ``owner.py`` gathers what they ask for.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["gather_chunks", "map_chunks", "run_chunk", "set_threads", "threads"]

Item = TypeVar("Item")
Result = TypeVar("Result")

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None
_count: int | None = None
_here = threading.local()


def threads() -> int:
    """Return how many chunks this process codes at a time.

    What ``set_threads`` said, else ``$TILEPRESS_THREADS``, else the cores that we may use.
    """
    if _count is not None:
        return _count
    wanted = os.environ.get("TILEPRESS_THREADS", "")
    if wanted.isdecimal() and int(wanted) > 0:
        return int(wanted)
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return max(1, os.cpu_count() or 1)


def set_threads(count: int | None) -> None:
    """Set the number of threads from now on; None returns to the default.

    A cluster worker that shares its machine with others sets its share here.
    """
    global _count, _pool
    if count is not None and count < 1:
        raise ValueError(f"setting the codec's threads: got {count}, want ≥ 1")
    with _lock:
        _count = count
        old, _pool = _pool, None
    if old is not None:
        old.shutdown(wait=False)  # what it has taken, it finishes


def run_chunk(function: Callable[[Item], Result], item: Item) -> Result:
    """Run ``function`` on one chunk in the pool and wait for it."""
    return _submit(function, item).result()


def map_chunks(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Run ``function`` on every chunk in the pool; return the results in order.

    The first error is raised once everything submitted has ended, so that no work of a failed
    call goes on behind the caller's back.
    """
    futures = [_submit(function, item) for item in items]
    try:
        return [future.result() for future in futures]
    except BaseException:
        for future in futures:
            future.cancel()
        for future in futures:
            if not future.cancelled():
                future.exception()
        raise


async def gather_chunks(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Run ``function`` on every chunk in the pool without blocking the event loop."""
    return await asyncio.gather(*(asyncio.wrap_future(_submit(function, item)) for item in items))


def _submit(function: Callable[[Item], Result], item: Item) -> Future[Result]:
    if getattr(_here, "inside", False):
        return _run_now(
            function, item
        )  # a pool thread that waited for the pool might wait for ever
    with _lock:
        try:
            return _open_pool().submit(function, item)
        except RuntimeError:  # the interpreter is shutting down: no new threads
            pass
    return _run_now(function, item)


def _run_now(function: Callable[[Item], Result], item: Item) -> Future[Result]:
    future: Future[Result] = Future()
    try:
        future.set_result(function(item))
    except Exception as error:
        future.set_exception(error)
    return future


def _open_pool() -> ThreadPoolExecutor:
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(
            threads(), thread_name_prefix="tilepress-codec", initializer=_enter_pool
        )
    return _pool


def _enter_pool() -> None:
    _here.inside = True


def _forget_after_fork() -> None:
    """A forked child has the pool's object but none of its threads, and maybe a held lock."""
    global _lock, _pool, _here
    _lock, _pool, _here = threading.Lock(), None, threading.local()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
