"""A whole cloud on this machine: a provider's API, boxes behind real sshds, and a bucket.

`Cloud` is what a test or a demonstration needs to do the console's job without any account: its
`environment` is all that tells a console where everything is.
"""

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from console.fleet.model import SshAddress
from console.fleet.processes import Identity, identify
from console.home import Home
from tests.simulators.b2 import REGION, B2Server
from tests.simulators.box import Boxes
from tests.simulators.vast import Instance, VastSimulator
from tests.simulators.vast import World as VastWorld
from tests.simulators.vultr import Machine, VultrSimulator


class Cloud:
    """Vast.ai, Vultr, their machines and a bucket, for one laptop. A context, or `close` it."""

    def __init__(self, directory: Path, *, bucket: bool = True, vast: VastWorld | None = None) -> None:
        """
        Args:
            directory: a new one, for the machines.
            bucket: else the laptop's store is a directory, as it is by default.
            vast: the market there.
        """
        self.boxes = Boxes(directory, environment=_box_environment())
        self.vast = VastSimulator(vast)
        self.vast.boot, self.vast.halt = self._boot_vast, self._halt_vast
        self.vultr = VultrSimulator()
        self.vultr.boot, self.vultr.halt = self._boot_vultr, self._halt_vultr
        self._b2 = B2Server() if bucket else None

    @property
    def environment(self) -> dict[str, str]:
        """What a console has to find in its environment; keys among it."""
        found = {
            "VAST_API_KEY": self.vast.api_key,
            "VAST_URL": self.vast.url,
            "VULTR_API_KEY": self.vultr.api_key,
            "VULTR_URL": self.vultr.url,
            "UPS_REMOTE_WORKDIR": str(self.boxes.workdir()),
            "UPS_REMOTE_PYTHON": sys.executable,
            "UPS_REMOTE_DEVICE": "cpu",
            "UPS_FLEET_PACE": "0.05",
        }
        return {**found, **self._bucket_environment()}

    def _bucket_environment(self) -> dict[str, str]:
        if self._b2 is None:
            return {}
        key = self._b2.new_key(self._b2.new_bucket())
        return {
            "B2_KEY_ID": key.key_id,
            "B2_APP_KEY": key.secret,
            "B2_BUCKET": key.bucket,
            "B2_S3_ENDPOINT": self._b2.url,
            "B2_S3_REGION": REGION,
        }

    def alive(self) -> list[str]:
        """Labels of everything that is rented, and costs."""
        machines = [machine.label for machine in self.vultr.alive()]
        return [row.label or "" for row in self.vast.alive()] + machines

    def _boot_vast(self, row: Instance) -> SshAddress:
        keys = [str(key["public_key"]) for key in self.vast.world.ssh_keys]
        return self.boxes.boot(
            label=row.label or "", instance=str(row.id), key=row.key, onstart=row.onstart, public_keys=keys
        )

    def _halt_vast(self, row: Instance) -> None:
        self.boxes.halt(str(row.id))

    def _boot_vultr(self, machine: Machine) -> SshAddress:
        return self.boxes.boot(
            label=machine.label,
            instance=machine.id,
            key="",
            onstart=machine.onstart,
            public_keys=machine.public_keys,
        )

    def _halt_vultr(self, machine: Machine) -> None:
        self.boxes.halt(machine.id)

    def close(self) -> None:
        self.vast.close()
        self.vultr.close()
        self.boxes.close()
        if self._b2 is not None:
            self._b2.close()

    def __enter__(self) -> "Cloud":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _box_environment() -> Mapping[str, str]:
    """Several boxes are one machine here, which none of them may fill."""
    kept = ("OMP_NUM_THREADS", "PIP_INDEX_URL", "PIP_CONFIG_FILE")
    return {name: os.environ[name] for name in kept if name in os.environ}


def end_guard(home: Home) -> None:
    """End a home's detached guard: what it watches goes with the cloud."""
    try:
        known = Identity.from_json(home.watch_pid.read_bytes())
    except FileNotFoundError:
        return
    if known is not None and identify(known.pid) == known:
        os.kill(known.pid, signal.SIGTERM)
