"""One SSH connection to an instance: opened when it is needed, kept, watched, and opened anew after a cut.

paramiko's keepalive does not notice a peer that keeps the connection and is silent (a frozen sshd, a
network that is gone, a laptop that slept). Here every connection asks for an answer every few seconds, and
a thread that can be blocked by nothing shuts the socket when none comes. So whoever waits is woken with an
error, and no wait needs a watch of its own.

Channels are used bare: paramiko's file objects can deadlock its transport when they are collected.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from console.errors import LoginError, ProviderError, UnreachableError
from console.fleet.keys import check_private
from console.fleet.model import SshAddress
from console.runs.known_hosts import check_host_key, pinned_algorithms
from console.runs.transport import Completed

if TYPE_CHECKING:
    import paramiko

    from console.runs.ssh_packets import WatchedPacketizer

_WINDOW = 16 * 1024 * 1024
"""Bytes that may be under way to us: 100 ms of 160 MB/s."""
_CHUNK = 256 * 1024
_FAST_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
_REFUSED_PAUSE_S = 0.05
_CHANNELS = 6
"""At once; OpenSSH allows 10 sessions (`MaxSessions`), and the user's own may be among them."""
_HINT = "the instance may live and cost money; `ups-console fleet` says what its provider sees"
_LINGER_S = 1.0
"""Output is awaited so long after the end of a command that has left children behind."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long is waited for what, in seconds."""

    connect_s: float = 10.0
    """For each of: the TCP connection, the first word of the server, the keys, the login."""
    ask_s: float = 2.0
    """A quiet connection is asked for a sign of life this often."""
    silence_s: float = 8.0
    """A connection that says nothing for so long, though asked, is lost."""
    stall_s: float = 60.0
    """A command that reports no byte for so long, while the connection lives, has failed."""


class CutError(UnreachableError):
    """The connection broke while something was under way: nobody knows how far it came."""


class SshConnection:
    """Commands and file transfers over one connection; safe to use from several threads."""

    def __init__(
        self, address: SshAddress, *, key: Path, known_hosts: Path, patience: Patience | None = None
    ) -> None:
        self.address = address
        self.patience = patience or Patience()
        self._key = key
        self._known_hosts = known_hosts
        self._opening = threading.Lock()
        self._channels = threading.BoundedSemaphore(_CHANNELS)
        self._link: _Link | None = None

    def execute(
        self,
        command: str,
        *,
        stdin: bytes = b"",
        timeout_s: float | None = None,
        stall_s: float | None = None,
    ) -> Completed:
        """Run a command line of the login shell, feed it, and collect all that it says.

        Args:
            command: for the shell that the user has on the box.
            stdin: its whole input.
            timeout_s: seconds in all; None: as long as bytes come.
            stall_s: seconds without a byte; the patience's by default.

        Raises:
            UnreachableError: no connection; CutError where it broke after the command was sent.
            LoginError: the box does not accept the key, or another machine answers.
            ProviderError: it took too long.
        """
        with self._channel() as (link, channel), _told(self.address, link):
            channel.exec_command(command)
            return _Exchange(link, channel, stdin).run(timeout_s, stall_s or self.patience.stall_s)

    @contextlib.contextmanager
    def sftp(self) -> "Iterator[paramiko.SFTPClient]":
        """A file transfer session; errors are as of `execute`, and OSError where the box refuses a file."""
        import paramiko

        with self._channel() as (link, channel), _told(self.address, link):
            channel.settimeout(self.patience.stall_s)
            channel.invoke_subsystem("sftp")
            yield paramiko.SFTPClient(channel)

    def open(self) -> None:
        """Connect now, where that has not happened; raises as `execute` does."""
        self._living()

    def close(self) -> None:
        """Hang up; the next use connects anew."""
        with self._opening:
            link, self._link = self._link, None
        if link is not None:
            link.close()

    @contextlib.contextmanager
    def _channel(self) -> "Iterator[tuple[_Link, paramiko.Channel]]":
        import paramiko

        with self._channels:
            link, channel = self._open_channel()
            try:
                yield link, channel
            finally:
                # Never left to the collector: it may run in the transport's own thread.
                link.channels.discard(channel)
                if not link.was_silent:
                    with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
                        channel.close()

    def _open_channel(self) -> "tuple[_Link, paramiko.Channel]":
        import paramiko

        until = time.monotonic() + self.patience.connect_s
        is_second = False
        while True:
            link = self._living()
            try:
                channel = link.transport.open_session(timeout=self.patience.connect_s)
                link.channels.add(channel)
                return link, channel
            except paramiko.ChannelException as error:
                # The server counts a session for a moment longer than we do.
                if time.monotonic() > until:
                    raise ProviderError(
                        f"{_place(self.address)} refuses another session: {error.text}",
                        hint="close sessions of your own on that box, or try again",
                    ) from error
                time.sleep(_REFUSED_PAUSE_S)
            except (paramiko.SSHException, EOFError, OSError) as error:
                # Of two that are refused at the same time paramiko tells only one why.
                if link.lives and time.monotonic() <= until:
                    time.sleep(_REFUSED_PAUSE_S)
                    continue
                # Cut while nobody looked: once more, on a new connection. A silent box has been waited for.
                link.close()
                if is_second or link.was_silent:
                    raise _unreachable(self.address, link, error) from error
                is_second = True

    def _living(self) -> "_Link":
        with self._opening:
            if self._link is None or not self._link.lives:
                if self._link is not None:
                    self._link.close()
                check_private(self._key)
                self._link = _Link(self.address, self._key, self._known_hosts, self.patience)
            return self._link


class _Link:
    """A paramiko transport, logged in, and its watch."""

    def __init__(self, address: SshAddress, key: Path, known_hosts: Path, patience: Patience) -> None:
        self.address = address
        self.was_silent = False
        """It was given up because nothing came."""
        self.channels: set[paramiko.Channel] = set()
        self._patience = patience
        self._closed = threading.Event()
        self._socket = _connect(address, patience)
        try:
            self.transport = _transport(self._socket, known_hosts)
        except BaseException:
            self._socket.close()
            raise
        self._packets = cast("WatchedPacketizer", self.transport.packetizer)
        threading.Thread(target=self._watch, name=f"ssh watch {address.host}", daemon=True).start()
        try:
            self._log_in(address, key, known_hosts)
        except BaseException:
            self.close()
            raise

    def _log_in(self, address: SshAddress, key: Path, known_hosts: Path) -> None:
        import paramiko

        from console.runs.ssh_packets import ask_when_quiet

        place = _place(address)
        try:
            self.transport.start_client(timeout=3 * self._patience.connect_s)
            if not self.transport.initial_kex_done:
                raise EOFError("no keys were agreed on")
            found = self.transport.get_remote_server_key()
            check_host_key(known_hosts, found.get_name(), found.asbytes())
            self.transport.auth_publickey(address.user, _load(key))
        except paramiko.AuthenticationException as error:
            if not self.transport.is_active():
                raise _unreachable(address, self, error) from error
            raise LoginError(
                f"{place} does not accept the key {key} for {address.user}",
                hint="the key has to be registered before the instance is created; "
                "a new instance may take a minute to know it",
            ) from error
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise _unreachable(address, self, error) from error
        ask_when_quiet(self.transport, self._patience.ask_s)

    def _watch(self) -> None:
        """Ask, and shut the socket when no answer comes; never takes a lock that a writer may hold."""
        patience = self._patience
        while not self._closed.wait(min(0.5, patience.silence_s / 4)):
            if not self.transport.is_active():
                return
            in_login = not self.transport.is_authenticated()
            limit = patience.connect_s if in_login else patience.silence_s
            if time.monotonic() - self._packets.heard > limit:
                self.was_silent = True
                self._shut()
                return

    @property
    def lives(self) -> bool:
        return not self.was_silent and self.transport.is_active()

    def close(self) -> None:
        self._closed.set()
        self._shut()
        if not self.was_silent:  # then its thread may hang, with locks that closing would wait for
            self.transport.close()

    def _shut(self) -> None:
        """Everybody who reads or writes gets an error at once, also one who holds a lock of paramiko's."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._packets.close()
        if self.was_silent:
            for channel in tuple(self.channels):
                channel.event.set()  # the one wait of paramiko's that knows no end


def _connect(address: SshAddress, patience: Patience) -> socket.socket:
    try:
        found = socket.create_connection((address.host, address.port), timeout=patience.connect_s)
    except TimeoutError as error:
        raise UnreachableError(
            f"no answer from {_place(address)} within {patience.connect_s:.0f} s", hint=_HINT
        ) from error
    except OSError as error:
        text = "connection refused" if isinstance(error, ConnectionRefusedError) else error.strerror or error
        raise UnreachableError(f"{text} at {_place(address)}", hint=_HINT) from error
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return found


def _transport(connection: socket.socket, known_hosts: Path) -> "paramiko.Transport":
    import paramiko

    from console.runs.ssh_packets import WatchedPacketizer

    transport = paramiko.Transport(
        connection, default_window_size=_WINDOW, packetizer_class=WatchedPacketizer
    )
    transport.daemon = True
    options = transport.get_security_options()
    options.ciphers = tuple(sorted(options.ciphers, key=lambda name: name not in _FAST_CIPHERS))
    pinned = pinned_algorithms(known_hosts)
    # A server has several host keys: asked for another kind than the pinned one it would look changed.
    options.key_types = tuple(sorted(options.key_types, key=lambda name: _kind(name) not in pinned))
    return transport


def _kind(algorithm: str) -> str:
    return "ssh-rsa" if algorithm.startswith("rsa-sha2-") else algorithm


def _load(key: Path) -> "paramiko.PKey":
    import paramiko

    try:
        return paramiko.PKey.from_path(key)
    except (paramiko.SSHException, paramiko.pkey.UnknownKeyType, OSError, ValueError, TypeError) as error:
        raise LoginError(
            f"{key} is no SSH private key that can be used here",
            hint="an ed25519, ECDSA or RSA key without a passphrase is needed",
        ) from error


class _Exchange:
    """A command on a channel: input, output and errors go on side by side, so that none blocks another."""

    def __init__(self, link: _Link, channel: "paramiko.Channel", stdin: bytes) -> None:
        self._link = link
        self._address = link.address
        self._channel = channel
        self._stdin = memoryview(stdin)
        self._bell = _Bell()
        self._out: list[bytes] = []
        self._err: list[bytes] = []
        channel.in_buffer.set_event(cast("threading.Event", self._bell))
        channel.in_stderr_buffer.set_event(cast("threading.Event", self._bell))
        if not stdin:
            channel.shutdown_write()

    def run(self, timeout_s: float | None, stall_s: float) -> Completed:
        channel = self._channel
        started = moved = time.monotonic()
        while True:
            self._bell.silence()
            # Asked first: what arrives while it is asked is then found below.
            is_over = channel.exit_status_ready() and (channel.eof_received or channel.closed)
            if self._move():
                moved = time.monotonic()
                continue
            if is_over:
                break
            now = time.monotonic()
            if self._link.was_silent:
                raise EOFError
            if channel.exit_status_ready() and now - moved > _LINGER_S:
                break
            if timeout_s is not None and now - started > timeout_s:
                raise ProviderError(
                    f"a command on {_place(self._address)} took longer than {timeout_s:.0f} s",
                    hint="the box may be overloaded; try again",
                )
            if now - moved > stall_s:
                raise UnreachableError(
                    f"a command on {_place(self._address)} has said nothing for {stall_s:.0f} s", hint=_HINT
                )
            # A window that opens rings no bell.
            self._bell.wait(0.005 if self._stdin else 0.1)
        if channel.exit_status < 0:
            raise CutError(f"the connection to {_place(self._address)} broke", hint=_HINT)
        return Completed(channel.exit_status, b"".join(self._out), b"".join(self._err))

    def _move(self) -> bool:
        """Whatever can be moved without waiting; whether something was."""
        channel, moved = self._channel, False
        if channel.recv_ready():
            self._out.append(channel.recv(_CHUNK))
            moved = True
        if channel.recv_stderr_ready():
            self._err.append(channel.recv_stderr(_CHUNK))
            moved = True
        if self._stdin and channel.send_ready():
            with contextlib.suppress(OSError):  # it has closed its input: what it says and its code tell why
                self._stdin = self._stdin[channel.send(self._stdin[:_CHUNK].tobytes()) :]
                moved = True
            if not moved:
                self._stdin = memoryview(b"")
            if not self._stdin:
                channel.shutdown_write()
        return moved


class _Bell:
    """What two pipes ring when bytes come; one that has run dry may not silence it for the other."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.wait = self._event.wait
        self.set = self._event.set
        self.is_set = self._event.is_set
        self.silence = self._event.clear

    def clear(self) -> None:
        """Asked by a pipe."""


@contextlib.contextmanager
def _told(address: SshAddress, link: _Link) -> Iterator[None]:
    """What a broken connection raises, as an error that says so; refusals of the box pass."""
    import paramiko

    try:
        yield
    except (paramiko.SSHException, EOFError, OSError) as error:
        if isinstance(error, OSError) and link.lives and not isinstance(error, TimeoutError):
            raise
        if link.was_silent:  # it has been waited for long enough: not to be asked again at once
            raise _unreachable(address, link, error) from error
        raise CutError(f"the connection to {_place(address)} broke", hint=_HINT) from error


def _unreachable(address: SshAddress, link: _Link, error: BaseException) -> UnreachableError:
    if link.was_silent or isinstance(error, TimeoutError):
        return UnreachableError(f"{_place(address)} does not answer", hint=_HINT)
    return UnreachableError(f"{_place(address)} hung up: {str(error) or 'no reason given'}", hint=_HINT)


def _place(address: SshAddress) -> str:
    return f"{address.host}:{address.port}"
