"""Starts a run by torchrun where several processes are to train, on this machine or on several.

Nothing is scheduled here: torchrun starts one process for each GPU, brings machines together by its
rendezvous, and starts all anew where one dies. This process becomes it, so that the run keeps its pid.
"""

import ipaddress
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from remote import environment
from ups.errors import UsageError
from ups.rundir import RunSpec

MOST_RESTARTS = 3
"""So often are all processes started anew because one has died."""
_INTERFACE_VARIABLES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME", "TP_SOCKET_IFNAME")


@dataclass(frozen=True, slots=True)
class Meeting:
    """How the machines of a run find one another; their launchers are ordered by address as text."""

    endpoint: str
    """`host:port` of the rendezvous, on the machine of the lowest address: its process 0 is the main one."""
    machines: int
    address: str
    """This machine's, by which the others reach it."""
    patience_s: float
    """Once some are there, so long the others are waited for."""

    @property
    def is_here(self) -> bool:
        """Whether this machine keeps the rendezvous, which ends with it.

        torchrun would guess it from its addresses, and of machines that share a host any might keep it.
        """
        return self.endpoint.rpartition(":")[0] == self.address


def processes_here(spec: RunSpec) -> int:
    """Processes that this machine contributes.

    Raises:
        ConfigError: a device is asked for that is not here.
    """
    wanted = spec.config.distributed.processes
    if wanted != "auto":
        return wanted
    if spec.preprocess is not None or environment.device() != "cuda":
        return 1
    import torch

    return max(1, torch.cuda.device_count())


def become(run_directory: Path, spec: RunSpec, meeting: Meeting | None, more: Sequence[str] = ()) -> None:
    """Become torchrun, which starts `remote run` as often as is wanted; returns where once is enough.

    Args:
        run_directory: of the run.
        spec: its run.yaml.
        meeting: of several machines; None: this one alone.
        more: further options of `remote run`.

    Raises:
        UsageError: this machine has no such address.
    """
    if "RANK" in os.environ or (spec.preprocess is not None and meeting is None):
        return
    processes = processes_here(spec)
    if processes == 1 and meeting is None:
        return
    argv = command(run_directory, spec, processes, meeting, more)
    os.execve(argv[0], argv, {**os.environ, **_network(meeting)})


def command(
    run_directory: Path, spec: RunSpec, processes: int, meeting: Meeting | None, more: Sequence[str] = ()
) -> list[str]:
    """The launcher's command line."""
    if meeting is None:
        place = ["--standalone", "--local-addr", "127.0.0.1"]
    else:
        conf = f"last_call_timeout={max(1, round(meeting.patience_s))},is_host={str(meeting.is_here).lower()}"
        place = [
            "--nnodes", f"1:{meeting.machines}", "--rdzv-backend", "c10d",
            "--rdzv-endpoint", meeting.endpoint, "--rdzv-id", f"{spec.run}-{spec.attempt}",
            "--rdzv-conf", conf, "--local-addr", meeting.address,
        ]  # fmt: skip
    return [
        sys.executable, "-m", "torch.distributed.run", *place, "--nproc-per-node", str(processes),
        "--max-restarts", str(MOST_RESTARTS), "-m", "remote", "run", str(run_directory), *more,
    ]  # fmt: skip


def _network(meeting: Meeting | None) -> Mapping[str, str]:
    """The interface that exchanges go over; by default a library takes the one of the host's name."""
    if meeting is None:
        return {}
    interface = interface_of(meeting.address)
    return {name: interface for name in _INTERFACE_VARIABLES if name not in os.environ}


def interface_of(address: str) -> str:
    """The name of the network interface that has an address.

    Raises:
        UsageError: none has.
    """
    loopback = ipaddress.ip_address(address).is_loopback
    for name, found in psutil.net_if_addrs().items():
        own = [entry.address for entry in found]
        if address in own or (loopback and "127.0.0.1" in own):
            return name
    raise UsageError(
        f"this machine has no address {address}", hint="its private network may not be attached yet"
    )
