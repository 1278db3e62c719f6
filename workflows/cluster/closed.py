"""What keeps a cluster of ours closed to other users: keys of one run, and a folder of our own.

Whoever can talk to a scheduler or worker of Dask can run code as the user who started it. So every
connection is encrypted, and both ends show the certificate of the run, whose key only its own
processes have. A loopback address alone is no door: every user of the machine can connect to it.

Every server of Dask puts the folder for its scratch files into ``sys.path``, and takes one in /tmp
that somebody else has made. So the folder is one that only this user may enter.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import shlex
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilepress.errors import UsageError
from tilepress.pipeline.storage.copies import scratch_folder

if TYPE_CHECKING:
    from distributed.security import Security

__all__ = [
    "OPEN_TO_ALL",
    "PROTOCOL",
    "WORKER_CLASS",
    "job_scratch",
    "key_files",
    "keys_folder",
    "keys_of_one_run",
    "scratch_settings",
    "write_keys",
]

PROTOCOL = "tls://"

WORKER_CLASS = "tilepress.workflows.cluster.servers.ClosedWorker"
"""For the command ``dask worker``."""

OPEN_TO_ALL = "whoever can reach its ports can run code as their user"
"""What a cluster without TLS is."""

VALID_FROM_BEFORE = datetime.timedelta(days=1)
"""Clocks of nodes differ."""

VALID_FOR = datetime.timedelta(days=365)

_NAME = "tilepress-run"


def keys_of_one_run() -> Security:
    """Return keys that are made now, for scheduler, workers and client; they are in memory only.

    One certificate is its own authority and that of all roles, as ``Security.temporary`` has it.
    """
    from distributed.security import Security

    key, certificate = _key_and_certificate()
    roles = ("client", "scheduler", "worker")
    return Security(
        require_encryption=True,
        tls_ca_file=certificate,
        **{f"tls_{role}_key": key for role in roles},
        **{f"tls_{role}_cert": certificate for role in roles},
    )


def _key_and_certificate() -> tuple[str, str]:
    """Return a P-256 key and a certificate that it signed itself, as PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, _NAME)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(_NAME)]), critical=False)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - VALID_FROM_BEFORE)
        .not_valid_after(now + VALID_FOR)
        .sign(key, hashes.SHA256())
    )
    written = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return written.decode(), certificate.public_bytes(serialization.Encoding.PEM).decode()


def write_keys(keys: Any, folder: Path) -> None:  # noqa: ANN401  # Security, untyped there
    """Write what a worker elsewhere needs to join; only this user may read it."""
    key, certificate = key_files(folder)
    for path, text in ((key, keys.tls_worker_key), (certificate, keys.tls_worker_cert)):
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)


def key_files(folder: Path) -> tuple[Path, Path]:
    """Return where key and certificate are."""
    return folder / "key.pem", folder / "cert.pem"


def scratch_settings() -> dict[str, Any]:
    """Return what Dask's configuration says for scratch files to be in a folder of our own.

    Raises UsageError where there is no such folder.
    """
    return {"temporary-directory": str(scratch_folder())}


def job_scratch(folder: str | None) -> list[str]:
    """Return lines of a job script that make a scratch folder on the node, and remove it."""
    where = "" if folder is None else f" -p {shlex.quote(folder)}"
    return [
        # backticks: $(...) would be a macro of HTCondor
        f"DASK_TEMPORARY_DIRECTORY=`mktemp -d{where}` || exit 1",
        "export DASK_TEMPORARY_DIRECTORY",
        "trap 'rm -rf $DASK_TEMPORARY_DIRECTORY' EXIT",
    ]


@contextlib.contextmanager
def keys_folder(shared: Path) -> Iterator[Path]:
    """Make a folder for the keys of one run in a shared folder, for this user alone.

    It is removed on leaving. Raises UsageError where others could put their own in its place.
    """
    found = shared.stat()
    others_write = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if others_write and not found.st_mode & stat.S_ISVTX:
        raise UsageError(
            f"starting a cluster: others may write into {shared}, where the keys of the run would "
            f"be; chmod go-w {shared}, or name another shared_folder"
        )
    folder = Path(tempfile.mkdtemp(prefix=".keys-", dir=shared))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
