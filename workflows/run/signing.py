"""Sign stores beside the run that seals them, each as soon as it is sealed.

A signature says that who holds the key has made the store of its source. So what this run has
sealed is signed, and a store that was there only where it has no signature and this run has
compared it with its source. One that is there with a wrong signature stays as it is and is a
failure: somebody may have put it there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal

from tilepress.errors import DestinationConflict, TilepressError, describe_error
from tilepress.pipeline.archive.outcome import ImageFailure, ImageResult
from tilepress.pipeline.store.signature import Signer

__all__ = ["BY_COMPRESS", "BY_FINISH", "Signing", "SigningFuture"]

SIGNED_AT_ONCE = 16
"""Stores: in a bucket each is a few requests, which take longer than the signature."""

MOST_WAITING = 64 * SIGNED_AT_ONCE
"""Stores that wait to be signed at most: then the run waits for them."""

BY_COMPRESS = "compress with --checksum --sign compares them with their sources, and signs them"
BY_FINISH = "tilepress finish --sign compares them with their sources, and signs them"

SigningFuture = Future[ImageFailure | Literal["signed", "left"]]


class Signing:
    """Signs in threads; all that is asked of it is asked by one thread."""

    def __init__(self, signer: Signer, remedy: str) -> None:
        """``remedy`` says how stores are signed that are left unsigned."""
        self._signer, self._remedy = signer, remedy
        self._pending: deque[SigningFuture] = deque()
        self._pool = ThreadPoolExecutor(SIGNED_AT_ONCE, thread_name_prefix="tilepress-sign")
        self._left = 0

    def add(self, image: ImageResult) -> SigningFuture:
        """Take a store that is sealed."""
        signed = self._pool.submit(self._sign, image)
        self._pending.append(signed)
        return signed

    def failures(self, most_waiting: int = MOST_WAITING) -> Iterator[ImageFailure]:
        """Yield what could not be signed, of what is done; wait while more than so many are not."""
        while self._pending and (self._pending[0].done() or len(self._pending) > most_waiting):
            found = self._pending.popleft().result()
            if isinstance(found, ImageFailure):
                yield found
            else:
                self._left += found == "left"

    @property
    def note(self) -> str | None:
        """What people should know in the end; None where every store is signed or a failure."""
        if not self._left:
            return None
        stores = "1 store" if self._left == 1 else f"{self._left} stores"
        return f"{stores} from before this run left unsigned: {self._remedy}"

    def close(self) -> None:
        """Wait for what was added."""
        self._pool.shutdown()

    def _sign(self, image: ImageResult) -> ImageFailure | Literal["signed", "left"]:
        try:
            if image.status == "unchanged":
                found = self._signer.check(image.store)
                if found.state == "wrong":
                    raise DestinationConflict(
                        f"{found.text}, and the store is not from this run; find out who changed "
                        "it, and replace it with --force"
                    )
                if found.state == "signed":
                    return "signed"
            if image.seal is None:
                return "left"
            self._signer.sign(image.store, image.seal)
        except (TilepressError, OSError) as error:
            kind, message = describe_error(error)
            text = f"signing {image.store}: {message.removeprefix(f'signing {image.store}: ')}"
            return ImageFailure(source=image.source, kind=kind, message=text)
        return "signed"
