"""Whoever can change a store can make its checksums anew; nobody can make its signature anew."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import tilepress
from tilepress.errors import DestinationConflict, UsageError
from tilepress.pipeline.store.seal import read_root, with_seal
from tilepress.pipeline.store.signature import Signer, Verifier, fingerprint

from ...helpers.samples import smooth

PEM = serialization.Encoding.PEM
PRIVATE = serialization.PrivateFormat


def write_pair(folder: Path, name: str, *, ssh: bool) -> tuple[Path, Path]:
    """Write a new pair of keys as ssh-keygen or openssl do; return private and public."""
    key = Ed25519PrivateKey.generate()
    how = PRIVATE.OpenSSH if ssh else PRIVATE.PKCS8
    public = key.public_key()
    private_file, public_file = folder / name, folder / f"{name}.pub"
    private_file.touch(0o600)
    private_file.write_bytes(key.private_bytes(PEM, how, serialization.NoEncryption()))
    kind = serialization.PublicFormat
    public_file.write_bytes(
        public.public_bytes(serialization.Encoding.OpenSSH, kind.OpenSSH)
        if ssh
        else public.public_bytes(PEM, kind.SubjectPublicKeyInfo)
    )
    return private_file, public_file


def sign(key: Path, store: Path) -> None:
    """Sign a store as it is now."""
    assert Signer.load(key).sign(store, read_root(store).seal)


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return write_pair(tmp_path, "key", ssh=True)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    np.save(tmp_path / "scene.npy", smooth((64, 64)))
    tilepress.compress(tmp_path / "scene.npy", tmp_path / "scene.zarr", workers=0, tier="fast")
    return tmp_path / "scene.zarr"


class TestSigned:
    """Signed by this key, under this name, with this content; nothing else is."""

    @pytest.mark.parametrize("ssh", [True, False])
    def test_both_kinds_of_key_files(self, store: Path, tmp_path: Path, ssh: bool):
        private, public = write_pair(tmp_path, "pair", ssh=ssh)
        assert Verifier.load(public).check(store).state == "unsigned"
        signer = Signer.load(private)
        assert signer.sign(store, read_root(store).seal)
        assert not signer.sign(store, read_root(store).seal), "it is signed"
        found = Verifier.load(public).check(store)
        assert found.state == "signed"
        assert found.text.startswith("signed by SHA256:")

    def test_readers_and_checks_see_a_store_as_before(
        self, store: Path, keys: tuple[Path, Path], tmp_path: Path
    ):
        import zarr

        before = np.asarray(zarr.open_group(store, mode="r")["0/image"])
        sign(keys[0], store)
        assert np.array_equal(zarr.open_group(store, mode="r")["0/image"], before)
        assert tilepress.verify(store, source=tmp_path / "scene.npy") == []

    def test_another_key(self, store: Path, keys: tuple[Path, Path], tmp_path: Path):
        sign(write_pair(tmp_path, "other", ssh=True)[0], store)
        found = Verifier.load(keys[1]).check(store)
        assert found.state == "wrong"
        assert "it is signed by another key, SHA256:" in found.text

    def test_another_store_under_its_name(
        self, store: Path, keys: tuple[Path, Path], tmp_path: Path
    ):
        sign(keys[0], store)
        store.rename(tmp_path / "other.zarr")
        found = Verifier.load(keys[1]).check(tmp_path / "other.zarr")
        assert (found.state, found.text.endswith("is that of a store scene.zarr")) == (
            "wrong",
            True,
        )

    def test_a_store_that_was_changed_and_sealed_again(self, store: Path, keys: tuple[Path, Path]):
        sign(keys[0], store)
        root = json.loads((store / "zarr.json").read_bytes())
        root["attributes"]["tilepress"]["seal"] = "0" * 64
        root["attributes"]["title"] = "another scene"
        forged = with_seal(json.dumps(root, separators=(",", ":")).encode())
        sealed = read_root(store).seal
        (store / "zarr.json").write_bytes(forged)
        found = Verifier.load(keys[1]).check(store)
        assert (found.state, found.text.endswith("is that of another content")) == ("wrong", True)
        before = (store / "signature.json").read_bytes()
        with pytest.raises(DestinationConflict, match="another store is in its place by now"):
            Signer.load(keys[0]).sign(store, sealed)
        assert (store / "signature.json").read_bytes() == before

    @pytest.mark.parametrize(
        "change",
        [
            lambda d: d | {"seal": "0" * 64},
            lambda d: d | {"signature": "00" * 64},
            lambda d: d | {"signature": "not hex"},
            lambda d: d | {"signature": 7},
            lambda d: {k: v for k, v in d.items() if k != "public_key"},
            lambda d: [],
            lambda d: "[" * 100_000,
        ],
    )
    def test_a_signature_that_was_changed(
        self, store: Path, keys: tuple[Path, Path], change: Callable[..., object]
    ):
        sign(keys[0], store)
        path = store / "signature.json"
        changed = change(json.loads(path.read_text()))
        path.write_text(changed if isinstance(changed, str) else json.dumps(changed))
        assert Verifier.load(keys[1]).check(store).state == "wrong"

    def test_repair_keeps_it(self, store: Path, keys: tuple[Path, Path], tmp_path: Path):
        from tilepress.pipeline.archive.repair import repair_stores

        sign(keys[0], store)
        (shard,) = (path for path in (store / "0/image/c").rglob("*") if path.is_file())
        shard.write_bytes(shard.read_bytes()[:-1])
        (repair,) = repair_stores(store, [str(tmp_path / "scene.npy")])
        assert repair.ok
        assert Verifier.load(keys[1]).check(store).state == "signed"


class TestKeyFiles:
    """A file that is no key is one line, and nothing of it is in the line."""

    def test_a_key_that_others_may_read(self, keys: tuple[Path, Path]):
        keys[0].chmod(0o640)
        with pytest.raises(UsageError, match="others may read this key; chmod 600"):
            Signer.load(keys[0])

    def test_what_is_none(self, keys: tuple[Path, Path], tmp_path: Path):
        private, public = keys
        with pytest.raises(UsageError, match="want an ed25519 public key, as ssh-keygen"):
            Verifier.load(private)
        public.chmod(0o600)
        with pytest.raises(UsageError, match="want an ed25519 private key, as ssh-keygen"):
            Signer.load(public)
        with pytest.raises(UsageError, match="there is no such file"):
            Signer.load(tmp_path)
        other = tmp_path / "rsa"
        other.touch(0o600)
        key = rsa.generate_private_key(65537, 2048)
        other.write_bytes(key.private_bytes(PEM, PRIVATE.PKCS8, serialization.NoEncryption()))
        with pytest.raises(UsageError, match="want an ed25519 private key"):
            Signer.load(other)
        locked = serialization.BestAvailableEncryption(b"secret")
        other.write_bytes(key.private_bytes(PEM, PRIVATE.PKCS8, locked))
        with pytest.raises(UsageError, match="it has a passphrase; a key without one is wanted"):
            Signer.load(other)

    def test_the_key_is_not_shown(self, keys: tuple[Path, Path]):
        assert "PRIVATE" not in repr(Signer.load(keys[0]))

    @pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")
    def test_the_fingerprint_is_that_of_ssh(self, tmp_path: Path):
        path = tmp_path / "id"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
        told = subprocess.run(
            ["ssh-keygen", "-l", "-f", path], capture_output=True, text=True, check=True
        ).stdout
        assert Signer.load(path)
        key = serialization.load_ssh_public_key((tmp_path / "id.pub").read_bytes())
        assert fingerprint(key.public_bytes_raw()) in told  # type: ignore[union-attr]
