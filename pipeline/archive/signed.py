"""Add to what a verification of stores found who has signed them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from tilepress.errors import TilepressError
from tilepress.pipeline.archive.verified import StoreCheck
from tilepress.pipeline.store.signature import SignatureCheck, Verifier

__all__ = ["with_signatures"]


def with_signatures(checks: Iterable[StoreCheck], key: Verifier) -> Iterator[StoreCheck]:
    """Yield each check with a finding about the signature.

    A store that is sound is damaged where the signature is wrong, and unknown without one.
    """
    for check in checks:
        if check.files is not None:
            yield replace(check, findings=(*check.findings, "signatures are of stores alone"))
            continue
        found = _of(check.store, key)
        state = check.state
        if found.state != "signed" and check.state == "sound":
            state = "damaged" if found.state == "wrong" else "unknown"
        yield replace(check, state=state, findings=(*check.findings, found.text))


def _of(store: str, key: Verifier) -> SignatureCheck:
    try:
        return key.check(store)
    except TilepressError as error:
        return SignatureCheck("unsigned", str(error))
    except OSError as error:
        text = f"reading the signature of {store}: {error.strerror or type(error).__name__}"
        return SignatureCheck("unsigned", text)
