"""Sign sealed stores, and tell who signed one: an ed25519 signature in a document beside the seal.

    signature.json    {"tilepress_signature": 1, "algorithm": "ed25519", "store": NAME,
                       "seal": SEAL, "public_key": HEX, "signature": HEX}

What is signed is the JSON list ["tilepress", 1, NAME, SEAL] as ASCII. The seal covers the root
document, that names the digest of the manifest, and the manifest has that of every object; so who
trusts the key, and finds the store sound, has what the holder of the key has sealed under this
name. Checksums alone tell of accidents: whoever can change a store can make its checksums anew.

Readers of Zarr, and ours, never look at the document. Keys are files as ``ssh-keygen -t ed25519``
or ``openssl genpkey -algorithm ed25519`` write them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tilepress.errors import DestinationConflict, StoreError, UsageError
from tilepress.pipeline.storage.path import AnyPath, StoragePath, storage_path
from tilepress.pipeline.store.keys import SIGNATURE
from tilepress.pipeline.store.seal import read_root

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

__all__ = ["SIGNATURE_VERSION", "SignatureCheck", "Signer", "Verifier", "is_outdated"]

SIGNATURE_VERSION = 1

MOST_BYTES = 64 * 2**10
"""Size of a key file, or of a signature, at most."""


@dataclass(frozen=True, slots=True)
class SignatureCheck:
    """What is known of the signature of one store."""

    state: Literal["signed", "unsigned", "wrong"]
    text: str


@dataclass(frozen=True, slots=True, repr=False)
class Signer:
    """Signs stores with a private key, which stays in this process."""

    _key: Ed25519PrivateKey

    @classmethod
    def load(cls, path: str | Path) -> Signer:
        """Read a private key, OpenSSH or PEM (PKCS 8); UsageError where it is none of ed25519."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        path = Path(path)
        data = _read_key(path, "--sign")
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise UsageError(f"reading --sign {path}: others may read this key; chmod 600 {path}")
        key = _parse_private(data, path)
        if not isinstance(key, Ed25519PrivateKey):
            raise _no_key("--sign", path, "an ed25519 private key")
        return cls(key)

    def check(self, where: AnyPath) -> SignatureCheck:
        """Say whether a store is signed by this key, as ``Verifier.check`` does."""
        return Verifier(self._key.public_key()).check(where)

    def sign(self, where: AnyPath, seal: str) -> bool:
        """Sign a store, whatever signature it has; False where this key's one is right.

        ``seal`` is that of the store as the caller knows it, who has just sealed it or compared it
        with its source: nothing else that lies there by now is signed.

        Raises StoreError or OSError where there is no sealed store, or nothing can be written.
        """
        store = storage_path(where)
        if read_root(store).seal != seal:
            text = "another store is in its place by now; run the same line again"
            raise DestinationConflict(f"signing {store}: {text}")
        public = self._key.public_key()
        if self.check(store).state == "signed":
            return False
        document = {
            "tilepress_signature": SIGNATURE_VERSION,
            "algorithm": "ed25519",
            "store": _name(store),
            "seal": seal,
            "public_key": public.public_bytes_raw().hex(),
            "signature": self._key.sign(_message(_name(store), seal)).hex(),
        }
        (store / SIGNATURE).write(json.dumps(document, indent=1).encode() + b"\n")
        return True


@dataclass(frozen=True, slots=True)
class Verifier:
    """Tells whether stores were signed with the private key that belongs to a public one."""

    _key: Ed25519PublicKey

    @classmethod
    def load(cls, path: str | Path) -> Verifier:
        """Read a public key, OpenSSH or PEM; UsageError where it is none of ed25519."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        path = Path(path)
        key = _parse_public(_read_key(path, "--key"), path)
        if not isinstance(key, Ed25519PublicKey):
            raise _no_key("--key", path, "an ed25519 public key")
        return cls(key)

    def check(self, where: AnyPath) -> SignatureCheck:
        """Say whether a sealed store is signed, by this key, as it is now and under its name.

        Raises StoreError or OSError where that cannot be told.
        """
        from cryptography.exceptions import InvalidSignature

        store = storage_path(where)
        found = _read_signature(store)
        if found is None:
            return SignatureCheck("unsigned", "it is not signed")
        given = fingerprint(self._key.public_bytes_raw())
        try:
            public = bytes.fromhex(found["public_key"])
            signature = bytes.fromhex(found["signature"])
            name, seal = str(found["store"]), str(found["seal"])
        except (KeyError, TypeError, ValueError):
            return SignatureCheck("wrong", f"{SIGNATURE} is damaged")
        if public != self._key.public_bytes_raw():
            text = f"it is signed by another key, {fingerprint(public)}, want {given}"
            return SignatureCheck("wrong", text)
        try:
            self._key.verify(signature, _message(name, seal))
        except InvalidSignature:
            return SignatureCheck("wrong", f"the signature by {given} is forged or damaged")
        if name != _name(store):
            return SignatureCheck("wrong", f"the signature by {given} is that of a store {name}")
        if seal != read_root(store).seal:
            text = f"the signature by {given} is that of another content"
            return SignatureCheck("wrong", text)
        return SignatureCheck("signed", f"signed by {given}")


def is_outdated(where: AnyPath) -> bool:
    """Whether a store's signature is that of another content, or none that anybody can read.

    Raises StoreError or OSError where that cannot be told.
    """
    store = storage_path(where)
    found = _read_signature(store)
    return found is not None and found.get("seal") != read_root(store).seal


def fingerprint(public: bytes) -> str:
    """Return what ``ssh-keygen -l`` calls an ed25519 key."""
    parts = (b"ssh-ed25519", public)
    blob = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return f"SHA256:{base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip('=')}"


def _name(store: StoragePath) -> str:
    """Return the name of a store, also of one that is the working folder."""
    return store.name or Path.cwd().name


def _message(name: str, seal: str) -> bytes:
    return json.dumps(["tilepress", SIGNATURE_VERSION, name, seal]).encode("ascii")


def _read_signature(store: StoragePath) -> dict[str, Any] | None:
    """Return what the document holds, nothing where it is damaged; None where there is none."""
    size = (store / SIGNATURE).size()
    if size is None:
        return None
    if size > MOST_BYTES:
        return {}
    try:
        found = json.loads((store / SIGNATURE).read())
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    version = found.get("tilepress_signature")
    if version != SIGNATURE_VERSION and isinstance(version, int):
        text = f"got version {version} of signatures, want {SIGNATURE_VERSION}"
        raise StoreError(f"checking the signature of {store.name}: {text}")
    return found


def _read_key(path: Path, option: str) -> bytes:
    try:
        if not path.is_file():
            raise UsageError(f"reading {option} {path}: there is no such file")
        with path.open("rb") as file:
            return file.read(MOST_BYTES)
    except OSError as error:
        raise UsageError(f"reading {option} {path}: {error.strerror}") from error


def _parse_private(data: bytes, path: Path) -> object:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    is_ssh = b"OPENSSH PRIVATE KEY" in data
    load = serialization.load_ssh_private_key if is_ssh else serialization.load_pem_private_key
    try:
        return load(data, password=None)
    except TypeError as error:
        text = "it has a passphrase; a key without one is wanted"
        raise UsageError(f"reading --sign {path}: {text}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _no_key("--sign", path, "an ed25519 private key") from error


def _parse_public(data: bytes, path: Path) -> object:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    is_ssh = data.startswith(b"ssh-")
    load = serialization.load_ssh_public_key if is_ssh else serialization.load_pem_public_key
    try:
        return load(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _no_key("--key", path, "an ed25519 public key") from error


def _no_key(option: str, path: Path, wanted: str) -> UsageError:
    return UsageError(f"reading {option} {path}: want {wanted}, as ssh-keygen or openssl write it")
