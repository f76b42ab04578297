"""Several instances that train one model: rented together, brought together, torn down together.

Each has an intent, a label and a lock of its own. The one with the lowest private address is the first: its
process 0 writes the run directory that counts, and its torchrun holds the rendezvous at which the others join
in. Whatever fails until all have started ends them all.
"""

import contextlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from console.api import Launched, RentOptions
from console.errors import ProviderError, UnreachableError
from console.fleet.ledger import Entry
from console.fleet.lifecycle import destroy, send_destroy
from console.fleet.model import InstanceState
from console.runs.launch import remote_directory, ship
from console.runs.preflight import candidates, together
from console.runs.sites import Purpose, Say
from console.runs.transport import Transport
from ups.errors import UpsError
from ups.rundir import RunDirectory, RunSpec, render_spec

if TYPE_CHECKING:
    from console.runs.launch import Launcher

LATECOMER_PATIENCE_S = 30.0
"""Once some boxes have met, so long the others are waited for, at the start and when one is lost."""
_LOCAL_PATIENCE_S = 3.0
_PROBE_S = 60.0
_PROBE_MEGABYTES = 64

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Box:
    """One of the instances, open."""

    entry: Entry
    transport: Transport
    address: str
    """On the private network."""


@dataclass(frozen=True, slots=True)
class GangLaunch:
    """One landing of a run on several instances."""

    launcher: "Launcher"
    spec: RunSpec
    local: RunDirectory
    options: RentOptions
    cap: float
    """Of all together, in dollars."""
    say: Say

    def land(self) -> Launched:
        """Rent, open, probe and start all.

        Raises:
            UpsError: something failed; nothing stays rented.
        """
        site, number = self.launcher.site, self.options.instances
        found = candidates(site.rank(self.options), self.options)
        offers = together(found, self.options, site.provider.capabilities)
        entries: list[Entry] = []
        with contextlib.ExitStack() as actors:
            try:
                for box, offer in enumerate(offers):
                    renting = self.launcher.renting(
                        offer, self.spec, self.options, self.cap / number, self.say, box=box
                    )
                    entries.append(actors.enter_context(renting))
                return self._start(self._met(self._side_by_side(self._open, entries)))
            except (UpsError, KeyboardInterrupt):
                for entry in entries:  # whoever still waits for one of them stops
                    self.launcher.ledger.ask_to_end(entry.label, "start failed")
                self._tear_down(entries)
                raise

    def _tear_down(self, entries: Sequence[Entry]) -> None:
        self.say(f"that failed: tearing down the {len(entries)} that were rented")
        launcher = self.launcher
        provider = launcher.site.provider
        for entry in entries:  # all are told at once; that they are gone is seen one after the other
            send_destroy(launcher.ledger, provider, launcher.ledger.entry(entry.label), cause="start failed")
        for entry in entries:
            now = launcher.ledger.entry(entry.label)
            for text in destroy(launcher.ledger, provider, now, cause="start failed"):
                self.say(text)

    # --- one by one, all at a time ------------------------------------------------------------

    def _side_by_side(self, do: Callable[[_Item], _Result], items: Sequence[_Item]) -> list[_Result]:
        """For all items at once; where one fails, or somebody interrupts, nobody waits for the others."""
        with ThreadPoolExecutor(len(items)) as pool:
            futures = [pool.submit(do, item) for item in items]
            try:
                return [future.result() for future in futures]
            except (UpsError, KeyboardInterrupt):
                for entry in self.launcher.ledger.of_run(self.spec.run):
                    if entry.living:
                        self.launcher.ledger.ask_to_end(entry.label, "start failed")
                raise

    def _open(self, entry: Entry) -> Box:
        launcher, site = self.launcher, self.launcher.site
        transport = site.open(entry, self.spec, lambda text: self.say(f"box {entry.box}: {text}"))
        entry = launcher.advance(entry, InstanceState.STARTING, InstanceState.REACHABLE, "transport open")
        remote = site.provider.get(str(entry.provider_id))
        if remote is None or not remote.private_address:
            raise ProviderError(
                f"{entry.provider_id} has no address on a private network",
                hint="choose a region that has one (--region), or rent one with more GPUs (--num-gpus)",
            )
        site.bring_data(self.spec, transport, self.say)
        return Box(entry, transport, remote.private_address)

    # --- together -----------------------------------------------------------------------------

    def _met(self, boxes: Sequence[Box]) -> list[Box]:
        """The boxes in the order of torchrun's ranks, once each has been seen to reach the next one."""
        ordered = sorted(boxes, key=lambda box: box.address)
        for number, box in enumerate(ordered):
            self.launcher.ledger.number(box.entry.label, number)
        numbered = [replace(box, entry=self.launcher.ledger.entry(box.entry.label)) for box in ordered]
        for box, following in zip(numbered, [*numbered[1:], numbered[0]], strict=True):
            self._probe(box, following)
        return numbered

    def _probe(self, sender: Box, listener: Box) -> None:
        port = _asked(listener, "free", listener.address)["port"]
        with ThreadPoolExecutor(1) as pool:
            listening = pool.submit(_asked, listener, "listen", listener.address, str(port))
            try:
                found = _asked(sender, "send", listener.address, str(port), str(_PROBE_MEGABYTES))
            finally:
                listening.result()
        self.say(
            f"box {sender.entry.box} → box {listener.entry.box}: {found['megabytes_per_s']:.0f} MB/s,"
            f" {found['milliseconds']:.1f} ms"
        )

    def _start(self, boxes: Sequence[Box]) -> Launched:
        launcher, site, first = self.launcher, self.launcher.site, boxes[0]
        port = _asked(first, "free", first.address)["port"]
        capabilities = site.provider.capabilities
        patience = LATECOMER_PATIENCE_S * capabilities.pace
        if capabilities.immediate_list:
            patience = _LOCAL_PATIENCE_S
        remote = remote_directory(self.spec.run, self.spec.attempt)
        for box in boxes:
            entry, transport = box.entry, box.transport
            shipped = site.for_box(self.spec, transport, self.options)
            if box is first:
                ship(transport, self.local, remote, shipped)
            else:  # what it goes on from comes from the first one
                transport.put(render_spec(shipped).encode(), f"{remote}/run.yaml")
            purpose = Purpose(
                entry.deadline, entry.cap_usd, entry.usd_per_hour, entry.keep,
                self.options.hold_on_failure_s, follows=box is not first,
            )  # fmt: skip
            site.tell(transport, remote, entry, purpose)
            argv = [
                transport.python, "-m", "remote", "run", transport.absolute(remote),
                "--meet", f"{first.address}:{port}", "--machines", str(len(boxes)),
                "--address", box.address, "--patience", f"{patience:g}",
            ]  # fmt: skip
            environment = {"PYTHONUNBUFFERED": "1", **launcher.environment(self.spec)}
            transport.start(argv, remote, environment=environment)
        for box in boxes:
            launcher.advance(
                box.entry, InstanceState.REACHABLE, InstanceState.RUNNING, f"run {self.spec.run} started"
            )
        names = ", ".join(str(box.entry.provider_id) for box in boxes)
        self.say(f"run {self.spec.run} started on {names}")
        return Launched(self.spec.run, str(first.entry.provider_id))


def _asked(box: Box, *words: str) -> dict[str, Any]:
    """What `python -m remote network` says on a box.

    Raises:
        UnreachableError: that box, or the one that it was to reach, cannot be reached.
    """
    argv = [box.transport.python, "-m", "remote", "network", *words, "--json"]
    done = box.transport.run(argv, timeout_s=_PROBE_S)
    if done.code == 0:
        answer: dict[str, Any] = json.loads(done.out.splitlines()[-1])
        return answer
    told = done.err.decode(errors="replace").strip().splitlines()
    with contextlib.suppress(ValueError, KeyError, TypeError, IndexError):
        why = json.loads(told[-1])["error"]["message"]
        raise UnreachableError(
            f"the private network fails at {box.entry.provider_id}: {why}",
            hint="launch again, or choose another region (--region)",
        )
    raise UnreachableError(f"{box.entry.provider_id} does not answer: {' '.join(told[-3:])[-300:]}")
