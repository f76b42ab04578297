"""A rented machine's door: the real sshd on a free port of 127.0.0.1, and what can happen to it.

It has its own host key, authorized keys, home and log, below one directory. Sessions carry
`UPS_SIMULATED_SSHD` in their environment, by which `close` finds what they have left running.
"""

import contextlib
import getpass
import itertools
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from console.fleet.model import SshAddress

MARKER = "UPS_SIMULATED_SSHD"
HOST = "127.0.0.1"
_START_S = 10.0
_END_S = 5.0
_STARTS = 5


def program() -> str | None:
    """The server's path; None where it is not installed. It has to be absolute: sshd starts itself anew."""
    system = os.pathsep.join((os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"))
    return shutil.which("sshd", path=system)


def new_key(path: Path, *, comment: str = "") -> str:
    """Make an ed25519 key at `path` (and `path`.pub) and return its public line."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path.with_name(path.name + ".pub").read_text().strip()


class Sshd:
    """One server; a context manager that leaves no process behind."""

    def __init__(
        self,
        directory: Path,
        *,
        public_keys: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        options: Mapping[str, str] | None = None,
    ) -> None:
        """Start it.

        Args:
            directory: a new or empty one for its files.
            public_keys: OpenSSH lines that open it.
            environment: what every session finds in its environment.
            options: further lines of sshd_config, which win over those of this class.
        """
        self.directory = directory
        self.marker = uuid.uuid4().hex
        self.port = 0
        home = directory / "home"  # else every command runs the start-up files of whoever tests
        self._environment = {MARKER: self.marker, "HOME": str(home), **(environment or {})}
        self._options = dict(options or {})
        self._process: subprocess.Popen[bytes] | None = None
        home.mkdir(parents=True, exist_ok=True)
        self._authorized = directory / "authorized_keys"
        self._authorized.write_text("".join(f"{line}\n" for line in public_keys))
        new_key(directory / "host_key")
        self.start()

    @property
    def address(self) -> SshAddress:
        return SshAddress(HOST, self.port, getpass.getuser())

    @property
    def log(self) -> str:
        """What the server has logged so far."""
        return (self.directory / "sshd.log").read_text(errors="replace")

    @property
    def host_key(self) -> str:
        """Its public line."""
        return (self.directory / "host_key.pub").read_text().strip()

    def authorize(self, public_key: str) -> None:
        """Let this key in from now on."""
        with self._authorized.open("a") as file:
            file.write(f"{public_key}\n")

    def forbid_all(self) -> None:
        """No key opens it any more; sessions that are open stay."""
        self._authorized.write_text("")

    def start(self) -> None:
        """Listen, on the same port as before where there was one; nothing where it listens already."""
        if self._process is not None and self._process.poll() is None:
            return
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        for _ in range(_STARTS):
            port = self.port or _free_port()
            if self._listens(port):
                self.port = port
                return
            time.sleep(0.05)
        raise RuntimeError(f"sshd does not start:\n{self.log[-2000:]}")

    def _listens(self, port: int) -> bool:
        config = self.directory / "sshd_config"
        config.write_text(self._config(port))
        log = self.directory / "sshd.log"
        before = log.stat().st_size if log.exists() else 0
        with log.open("ab") as output:
            process = subprocess.Popen(
                [program() or "/usr/sbin/sshd", "-D", "-e", "-f", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        until = time.monotonic() + _START_S
        while process.poll() is None and time.monotonic() < until:
            if b"Server listening" in log.read_bytes()[before:]:
                self._process = process
                return True
            time.sleep(0.01)
        process.kill()
        process.wait()
        return False

    def _config(self, port: int) -> str:
        set_env = " ".join(f'"{name}={value}"' for name, value in self._environment.items())
        lines = {
            "Port": str(port),
            "ListenAddress": HOST,
            "HostKey": str(self.directory / "host_key"),
            "AuthorizedKeysFile": str(self._authorized),
            "PidFile": "none",
            "UsePAM": "no",
            "StrictModes": "no",
            "UseDNS": "no",
            "PermitRootLogin": "yes",
            "PubkeyAuthentication": "yes",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "PrintMotd": "no",
            "LogLevel": "VERBOSE",
            "MaxStartups": "100",
            "Subsystem": "sftp internal-sftp",
            "SetEnv": set_env,
        }
        return "".join(f"{name} {value}\n" for name, value in {**lines, **self._options}.items())

    # --- what can happen to it ----------------------------------------------------------------

    def sessions(self) -> list[psutil.Process]:
        """The server's own processes of all open connections; not what users have started in them."""
        if self._process is None:
            return []
        with contextlib.suppress(psutil.Error):
            found = psutil.Process(self._process.pid).children(recursive=True)
            return [process for process in found if _is_sshd(process)]
        return []

    def cut(self) -> int:
        """Every connection is lost at once, without a word; returns how many processes served them."""
        sessions = self.sessions()
        for process in sessions:
            _signal(process, signal.SIGKILL)
        _wait_for_end(sessions)
        return len(sessions)

    @contextlib.contextmanager
    def cut_every(self, seconds: float, *, times: int | None = None) -> Iterator[None]:
        """Cut again and again until the block is left, or so many times."""
        done = threading.Event()

        def work() -> None:
            for _ in itertools.count() if times is None else range(times):
                if done.wait(seconds):
                    return
                self.cut()

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def freeze(self) -> None:
        """The machine does not answer any more, and keeps every connection: as when the network is gone."""
        assert self._process is not None
        _signal(psutil.Process(self._process.pid), signal.SIGSTOP)
        for process in self.sessions():
            _signal(process, signal.SIGSTOP)

    def resume(self) -> None:
        """Take back `freeze`."""
        assert self._process is not None
        for process in self.sessions():
            _signal(process, signal.SIGCONT)
        _signal(psutil.Process(self._process.pid), signal.SIGCONT)

    def refuse(self) -> None:
        """Connections are refused until `start`, and those that are open are cut."""
        if self._process is None:
            return
        sessions = self.sessions()
        self._process.kill()
        self._process.wait()
        self._process = None
        for process in sessions:
            _signal(process, signal.SIGKILL)
        _wait_for_end(sessions)

    def change_host_key(self) -> None:
        """Another machine has got the address."""
        self.refuse()
        for name in ("host_key", "host_key.pub"):
            (self.directory / name).unlink()
        new_key(self.directory / "host_key")
        self.start()

    def close(self) -> None:
        """End the server, its sessions, and every process that was started through them."""
        self.refuse()
        for _ in range(2):  # what was just forking is found the second time
            left = [process for process in psutil.process_iter() if self._is_ours(process)]
            for process in left:
                _signal(process, signal.SIGKILL)
            _wait_for_end(left)

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get(MARKER) == self.marker
        except (psutil.Error, OSError):
            return False

    def __enter__(self) -> "Sshd":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind((HOST, 0))
        return int(found.getsockname()[1])


def _is_sshd(process: psutil.Process) -> bool:
    try:
        return process.name().startswith("sshd")
    except psutil.Error:
        return False


def _wait_for_end(processes: Sequence[psutil.Process]) -> None:
    """A zombie has ended: whose child it is may take its time to notice."""
    until = time.monotonic() + _END_S
    while any(map(_lives, processes)) and time.monotonic() < until:
        time.sleep(0.005)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _signal(process: psutil.Process, number: int) -> None:
    with contextlib.suppress(psutil.Error):
        process.send_signal(number)
