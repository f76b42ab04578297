"""This machine as a provider: an instance is a directory and the processes that carry its marker.

The box's leader is the runtime's watchdog, started first in its own session; it ends the box at the
deadline, or when the run is over. The process table is the list, so an absence is seen at once.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

from console.errors import ProviderError
from console.fleet import processes
from console.fleet.box_file import MARKER
from console.fleet.model import InstanceSpec, Label, Offer, OfferQuery, ProviderState, RemoteInstance, Volume
from console.fleet.providers.base import Capabilities
from console.runs.transport import LocalTransport
from ups.errors import NotFoundError, StoreError

_PATIENCE_S = 10.0
_BOX_FILE = "box.json"
_LEADER_FILE = "leader.pid"


class LocalProvider:
    """Instances below `root`, one directory each, named by label."""

    name = "local"
    capabilities = Capabilities(immediate_list=True, private_network=True, offers_repeat=True)

    def __init__(self, root: Path, *, python: str = sys.executable) -> None:
        self._root = root
        self._python = python

    def offers(self, query: OfferQuery) -> list[Offer]:
        root = self._root
        while not root.exists():
            root = root.parent
        return [
            Offer(
                id="this-machine",
                provider=self.name,
                gpu=_gpu_name() or "CPU",
                num_gpus=1 if _gpu_name() else 0,
                vram_gb=0.0,
                usd_per_hour=0.0,
                cpu_cores=os.cpu_count() or 1,
                ram_gb=round(psutil.virtual_memory().total / 2**30, 1),
                disk_gb=round(shutil.disk_usage(root).free / 2**30, 1),
                network_mbps=None,
                reliability=None,
                region="here",
            )
        ]

    def create(self, spec: InstanceSpec) -> str:
        label = spec.label
        parsed = Label.parse(label)
        if parsed is None:
            raise ProviderError(f"{label!r} is no label")
        box = self._root / label
        try:
            box.mkdir(parents=True)
            self._write_box(box, label, parsed.deadline, spec.grace_s)
            leader = self._start_leader(box, label)
            (box / _LEADER_FILE).write_bytes(leader.to_json())
        except OSError as error:
            shutil.rmtree(box, ignore_errors=True)
            raise StoreError(
                f"{box} cannot be made: {error.strerror or error}",
                hint="set UPS_HOME to a directory with space that you may write",
            ) from error
        return _id_of(label)

    def _write_box(self, box: Path, label: str, deadline: int, grace_s: float) -> None:
        content = {
            "label": label,
            "deadline": deadline,
            "grace_s": grace_s,
            "marker": f"{MARKER}={label}",
            "run_dir": None,
        }
        handle = os.open(box / _BOX_FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as file:
            json.dump(content, file)

    def _start_leader(self, box: Path, label: str) -> processes.Identity:
        with (box / "watchdog.log").open("ab") as log:
            leader = subprocess.Popen(
                [self._python, "-m", "remote", "watchdog", str(box)],
                cwd=box,
                env={**os.environ, MARKER: label},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        identity = processes.identify(leader.pid)
        if identity is None:
            raise ProviderError(
                f"the watchdog did not start: {(box / 'watchdog.log').read_text()[-300:]}",
                hint="`ups-console doctor` says what is missing",
            )
        return identity

    def preview(self, spec: InstanceSpec) -> str:
        box = self._root / spec.label
        return f"mkdir {box}\n{self._python} -m remote watchdog {box}"

    def get(self, instance: str) -> RemoteInstance | None:
        return next((found for found in self.list() if found.id == instance), None)

    def list(self) -> list[RemoteInstance]:
        if not self._root.is_dir():
            return []
        return [self._describe(box) for box in sorted(self._root.iterdir()) if Label.parse(box.name)]

    def _describe(self, box: Path) -> RemoteInstance:
        leader = None
        if (box / _LEADER_FILE).exists():
            leader = processes.Identity.from_json((box / _LEADER_FILE).read_bytes())
        alive = leader is not None and processes.identify(leader.pid) == leader
        return RemoteInstance(
            id=_id_of(box.name),
            provider=self.name,
            label=box.name,
            state=ProviderState.RUNNING if alive else ProviderState.STOPPED,
            usd_per_hour=0.0,
            what=f"{os.cpu_count()} cores",
            created=leader.start_time if leader is not None else box.stat().st_mtime,
            private_address=_loopback(box.name),
        )

    def destroy(self, instance: str) -> None:
        found = self.get(instance)
        if found is None:
            return
        # The leader would restart nothing, but it would linger: it goes with the rest.
        processes.end(processes.marked(MARKER, found.label), patience_s=_PATIENCE_S)
        if not processes.wait_until_none(MARKER, found.label, timeout_s=_PATIENCE_S):
            raise ProviderError(f"processes of {found.label} are still alive", hint="try again")
        shutil.rmtree(self._root / found.label, ignore_errors=True)

    def transport(self, instance: str) -> LocalTransport:
        found = self.get(instance)
        if found is None:
            raise ProviderError(f"there is no instance {instance} on this machine")
        return LocalTransport(self._root / found.label, python=self._python, marker={MARKER: found.label})

    def logs(self, instance: str, *, tail: int = 200) -> Sequence[str]:
        log = self._root / _label_of(self._root, instance) / "watchdog.log"
        return log.read_text(errors="replace").splitlines()[-tail:] if log.exists() else []

    def attach_key(self, public_key: str) -> None:
        """Nothing opens a box on this machine but its user."""

    def balance(self) -> float | None:
        return None

    def volumes(self) -> Sequence[Volume]:
        return []

    def delete_volume(self, volume: str) -> None:
        raise NotFoundError(f"there is no volume {volume}: this machine has none")


def _loopback(label: str) -> str:
    """A loopback address of the box's own."""
    parsed = Label.parse(label)
    digits = parsed.unique[-6:] if parsed else "000001"
    return "127." + ".".join(str(1 + int(digits[at : at + 2], 16) % 254) for at in (0, 2, 4))


def _id_of(label: str) -> str:
    parsed = Label.parse(label)
    return f"local-{parsed.unique}" if parsed else label


def _label_of(root: Path, instance: str) -> str:
    return next((box.name for box in root.iterdir() if _id_of(box.name) == instance), instance)


def _gpu_name() -> str:
    path = Path("/proc/driver/nvidia/gpus")
    for information in sorted(path.glob("*/information")) if path.exists() else []:
        for line in information.read_text().splitlines():
            if line.startswith("Model:"):
                return line.partition(":")[2].strip()
    return ""
