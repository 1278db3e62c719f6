"""Open the socket that is listened on, or say in a line why that fails."""

from __future__ import annotations

import errno
import socket

from tilepress.errors import UsageError

__all__ = ["listening"]


def listening(host: str, port: int) -> socket.socket:
    """Return a socket of an address and port, 0 for any; raises UsageError."""
    sock = None
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen()
    except OSError as error:
        if sock is not None:
            sock.close()
        if error.errno == errno.EADDRINUSE:
            text = f"port {port} is in use; choose another with --port"
            raise UsageError(f"serving: {text}") from None
        raise UsageError(f"serving: cannot listen at {host}:{port} ({error.strerror})") from None
    return sock
