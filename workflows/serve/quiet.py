"""Have what nobody foresaw say its type alone: its text may quote a header."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from tilepress.errors import DamagedStore, TilepressError
from tilepress.workflows.serve.shelf import NoSuchStore

__all__ = ["Answer", "quiet"]

Answer = Callable[[Request], Response]


def quiet(answer: Answer, doing: str) -> Answer:
    """Return an answer that raises DamagedStore, with no trace, for what is no error of ours.

    ``doing`` begins its text. Stores that somebody has forged and sealed again come to that.
    """

    @wraps(answer)
    def quietly(request: Request) -> Response:
        try:
            return answer(request)
        except (HTTPException, TilepressError, OSError, NoSuchStore):
            raise
        except Exception as error:
            raise DamagedStore(f"{doing}: {type(error).__name__}") from None

    return quietly
