"""What a box can do on its private network: a free port, and how fast another box is reached."""

import contextlib
import socket
import time
from collections.abc import Iterator

from ups.errors import UpsError, UsageError

PATIENCE_S = 20.0
"""So long a listener waits to be called, and a caller tries."""
_CHUNK = 1 << 20
_PAUSE_S = 0.1


class NetworkError(UpsError):
    """A box is not reached."""

    code = "provider"
    exit_code = 5


def free_port(address: str) -> int:
    """A TCP port of this machine's address that nobody listens at.

    Raises:
        UsageError: this machine has no such address.
    """
    with _bound(address, 0) as server:
        return int(server.getsockname()[1])


def listen(address: str, port: int) -> int:
    """Take what one caller sends and tell it how much came; returns the bytes.

    Raises:
        UsageError: this machine has no such address.
        NetworkError: nobody calls.
    """
    with _bound(address, port) as server:
        server.settimeout(PATIENCE_S)
        try:
            caller, _ = server.accept()
        except TimeoutError:
            raise NetworkError(f"nobody has called {address}:{port} within {PATIENCE_S:.0f} s") from None
    with caller:
        caller.settimeout(PATIENCE_S)
        received = 0
        while chunk := caller.recv(_CHUNK):
            if received == 0:
                caller.sendall(b".")  # the first word is answered at once: the caller times it
            received += len(chunk)
        caller.sendall(str(received).encode())
    return received


def send(address: str, port: int, megabytes: int) -> tuple[float, float]:
    """Send so much to a listener; returns MB/s, and milliseconds to and fro.

    Raises:
        NetworkError: it cannot be reached, or not all has come.
    """
    try:
        with _called(address, port) as peer:
            began = time.monotonic()
            peer.sendall(b".")
            peer.recv(1)
            delay = time.monotonic() - began
            began, chunk = time.monotonic(), bytes(_CHUNK)
            for _ in range(megabytes):
                peer.sendall(chunk)
            peer.shutdown(socket.SHUT_WR)
            said = b""
            while part := peer.recv(64):
                said += part
            seconds = time.monotonic() - began
    except OSError as error:
        raise NetworkError(f"{address}:{port} cannot be reached: {error.strerror or error}") from error
    if int(said or b"0") != megabytes * _CHUNK + 1:
        raise NetworkError(f"{address}:{port} did not get all that was sent")
    return megabytes * _CHUNK / 1e6 / max(seconds, 1e-9), 1e3 * delay


def _called(address: str, port: int) -> socket.socket:
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            peer = socket.create_connection((address, port), timeout=PATIENCE_S)
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return peer
        except ConnectionRefusedError:
            if time.monotonic() > until:
                raise
        time.sleep(_PAUSE_S)


@contextlib.contextmanager
def _bound(address: str, port: int) -> Iterator[socket.socket]:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((address, port))
        except OSError as error:
            raise UsageError(f"{address}:{port} cannot be listened at: {error.strerror}") from error
        server.listen(1)
        yield server
