"""A rented box on this machine: a real sshd in a directory of its own, and the processes that it starts.

Booting runs the start script as the provider does, with the container's environment; halting ends every
process that carries the box's label, and the sshd. Nothing can halt the machine itself: `UPS_REMOTE_HALT`
names a script that only writes that it was called.
"""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from console.fleet import processes
from console.fleet.model import SshAddress
from tests.simulators.sshd import Sshd

MARKER = "UPS_INSTANCE"
_PATIENCE_S = 5.0
_KEPT = ("PATH", "LANG", "TZ")
"""All that a box has of this process's environment: no key of a user, and no PYTHONPATH."""


class RentedBox:
    """One instance's machine. It boots at once, and again after `halt`."""

    def __init__(
        self,
        directory: Path,
        *,
        label: str,
        instance: str,
        key: str,
        onstart: str,
        public_keys: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Boot it.

        Args:
            directory: a new one; its home, its work directory and its sshd's files lie below it.
            label: of the instance; its processes carry it.
            instance: the provider's id.
            key: the instance's own key, "" where the provider has none.
            onstart: the start script.
            public_keys: OpenSSH lines that open it.
            environment: what else its processes find, such as `UPS_REMOTE_DEVICE`.
        """
        self.directory = directory
        self.label = label
        self._onstart = onstart
        self.home = directory / "home"
        self.workdir = directory / "workspace"
        """What `UPS_REMOTE_WORKDIR` has to be when the start script is rendered."""
        self.halted = directory / "halted"
        """Exists when the box tried to halt the machine."""
        self.home.mkdir(parents=True)
        self._make_halt()
        container = {"CONTAINER_API_KEY": key, "CONTAINER_ID": instance} if key else {}
        self.environment = {
            **{name: os.environ[name] for name in _KEPT if name in os.environ},
            "PATH": os.pathsep.join((str(directory / "bin"), os.environ.get("PATH", ""))),
            "HOME": str(self.home),
            MARKER: label,
            "UPS_REMOTE_HALT": str(directory / "bin" / "shutdown"),
            **(environment or {}),
        }
        self._sshd = Sshd(directory / "sshd", public_keys=public_keys, environment=self.environment)
        self._container = container
        try:
            self.boot()
        except BaseException:
            self.close()
            raise

    @property
    def address(self) -> SshAddress:
        return self._sshd.address

    @property
    def sshd(self) -> Sshd:
        return self._sshd

    def boot(self) -> None:
        """Listen, and run the start script to its end."""
        self._sshd.start()
        script = self.directory / "onstart.sh"
        script.write_text(self._onstart)
        with (self.directory / "onstart.log").open("ab") as log:
            subprocess.run(
                ["sh", str(script)],
                cwd=self.home,
                env={**self.environment, **self._container},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
                timeout=30,
            )

    def processes(self) -> list[psutil.Process]:
        """The living processes of the box, the sshd's own not among them."""
        return processes.marked(MARKER, self.label)

    def halt(self) -> None:
        """Power off: everything ends at once, the files stay."""
        self._sshd.refuse()
        for _ in range(2):  # what was just forking is found the second time
            found = self.processes()
            for process in found:
                with contextlib.suppress(psutil.Error):
                    process.send_signal(signal.SIGKILL)
            processes.wait_until_dead(found, timeout_s=_PATIENCE_S)

    def close(self) -> None:
        """Leave nothing behind but files."""
        self.halt()
        self._sshd.close()

    def _make_halt(self) -> None:
        folder = self.directory / "bin"
        folder.mkdir()
        for name in ("shutdown", "poweroff", "halt", "reboot", "systemctl"):
            program = folder / name
            program.write_text(f'#!/bin/sh\necho "$0 $*" >>{self.halted}\n')
            program.chmod(0o755)


class Boxes:
    """The machines behind a simulated provider: its `boot` and `halt` hooks."""

    def __init__(
        self,
        directory: Path,
        *,
        public_keys: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._directory = directory
        self._environment = dict(environment or {})
        self._public_keys = tuple(public_keys)
        self._boxes: dict[str, RentedBox] = {}
        self._lock = threading.Lock()

    def workdir(self) -> Path:
        """`UPS_REMOTE_WORKDIR` for all of them: each box is below its own label there."""
        return self._directory / "workspace"

    def boot(
        self, *, label: str, instance: str, key: str, onstart: str, public_keys: Sequence[str] = ()
    ) -> SshAddress:
        """Boot an instance's machine, or boot it again; where it listens."""
        with self._lock:
            box = self._boxes.get(instance)
        if box is not None:
            box.boot()
            return box.address
        box = RentedBox(
            self._directory / "boxes" / instance,
            label=label,
            instance=instance,
            key=key,
            onstart=onstart,
            public_keys=(*self._public_keys, *public_keys),
            environment=self._environment,
        )
        with self._lock:
            self._boxes[instance] = box
        return box.address

    def halt(self, instance: str) -> None:
        """Power an instance's machine off."""
        with self._lock:
            box = self._boxes.get(instance)
        if box is not None:
            box.halt()

    def find(self, instance: str) -> RentedBox | None:
        with self._lock:
            return self._boxes.get(instance)

    def close(self) -> None:
        with self._lock:
            boxes = list(self._boxes.values())
        for box in boxes:
            box.close()

    def __enter__(self) -> "Boxes":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
