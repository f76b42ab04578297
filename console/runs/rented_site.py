"""A rented machine as the place of a run: it is waited for, shipped to, and told what ends it."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from console.api import Check, DryStep, Level, RentOptions
from console.errors import ImageError, NeverStartsError, ProviderError, StoppedError, UnreachableError
from console.fleet import offers, onstart
from console.fleet.box_file import BOX_FILE, MAX_FAILURES, BoxFile, Destruction
from console.fleet.ledger import UNREACHABLE_AFTER_S, Entry, Ledger
from console.fleet.lifecycle import still_wanted
from console.fleet.model import VOLUME_PENDING, InstanceSpec, Label, Offer, ProviderState, SshAddress
from console.fleet.offers import Ranking
from console.fleet.providers.base import Provider
from console.home import Home
from console.runs import reporting, shipping, wheel
from console.runs.doors import Doors
from console.runs.inspection import gpus_rented, inspect, require_driver
from console.runs.sites import Purpose, Say
from console.runs.ssh import SshTransport
from console.runs.ssh_wait import LOGIN_PATIENCE_S, PAUSE_S, wait_for_ssh
from console.runs.transport import Transport
from console.settings import Settings
from ups import catalog
from ups.errors import NotFoundError, UpsError
from ups.rundir import RunSpec
from ups.store import open_store

GRACE_S = 120.0
"""A box that has published everything waits so long: whoever follows reads its last lines."""
FETCH_GRACE_S = 3600.0
"""One without a bucket waits for the laptop to fetch its results."""
KEPT_GRACE_S = 10 * 365 * 86400.0
LEASE_S = 1800.0
"""The longest time without progress."""
START_PATIENCE_S = 1800.0
"""So long a box may take to be created, to pull its image and to let the console in."""
_PAUSE_S = 1.0
DEVICE_VARIABLE = "UPS_REMOTE_DEVICE"
_STORE = "store"
_KEYS_FILE = "store-keys.json"


@dataclass(frozen=True, slots=True)
class RentedSite:
    """Runs on instances of one provider, behind SSH."""

    provider: Provider
    settings: Settings
    doors: Doors
    home: Home
    ledger: Ledger
    clock: Callable[[], float] = time.time

    # --- before paying ------------------------------------------------------------------------

    def checks(self, rent: RentOptions) -> Iterator[Check]:
        yield from self._balance()
        yield Check(Level.OK, f"SSH key {self.doors.key.private}")
        if self._bucket:
            return
        hours = FETCH_GRACE_S / 3600
        yield Check(
            Level.WARNING,
            "no bucket is configured: datasets go to the box over SSH, and after the run it waits up to "
            f"{hours:.0f} h, which costs, for this machine to fetch the results",
            hint="set B2_BUCKET, B2_KEY_ID and B2_APP_KEY",
        )

    def _balance(self) -> Iterator[Check]:
        name = self.provider.name
        try:
            balance = self.provider.balance()
        except UpsError as error:
            yield Check(Level.FAILED, error.message, hint=error.hint, code=error.code)
            return
        if balance is None:
            yield Check(Level.OK, f"{name} key accepted")
        elif balance <= 0:
            yield Check(Level.FAILED, f"the account at {name} has nothing left (${balance:.2f})",
                        hint="add credit, or choose another provider", code="provider")  # fmt: skip
        else:
            yield Check(Level.OK, f"{name} key accepted, ${balance:.2f} left")

    def rank(self, rent: RentOptions) -> Ranking:
        found = self.provider.offers(rent.query)
        failed = self.ledger.failed_machines(
            self.provider.name, unreachable_after_s=UNREACHABLE_AFTER_S * self.provider.capabilities.pace
        )
        known = dict.fromkeys(failed, "it failed here before")
        return offers.rank(rent.query, found, failed_machines=known)

    # --- renting ------------------------------------------------------------------------------

    def spec(self, label: str, offer: Offer, rent: RentOptions) -> InstanceSpec:
        parsed = Label.parse(label)
        assert parsed is not None
        return InstanceSpec(
            offer=offer,
            label=label,
            grace_s=self._grace_s(rent.keep),
            image=rent.image,
            disk_gb=rent.query.disk_gb,
            public_key=self.doors.key.public,
            onstart=self.start_script(parsed),
            volume_gb=rent.volume_gb,
            keep_volume=rent.keep_volume,
            private_network=rent.instances > 1,
        )

    def start_script(self, label: Label) -> str:
        """What the box runs first."""
        return onstart.render(
            label,
            box=self.doors.box(str(label)),
            written=self.clock(),
            url=self.provider.capabilities.box_api or None,
        )

    def _grace_s(self, keep: bool) -> float:
        if keep:
            return KEPT_GRACE_S
        return self.provider.capabilities.pace * (GRACE_S if self._bucket else FETCH_GRACE_S)

    def preview(self, spec: InstanceSpec, purpose: Purpose) -> Iterator[DryStep]:
        yield DryStep("ssh key", f"registered before the create: {spec.public_key}")
        yield DryStep("create", self.provider.preview(spec))
        yield DryStep("start script, run by the box first", spec.onstart)
        told = self._box_file(spec.label, "INSTANCE", purpose, time.time(), spec.grace_s)
        yield DryStep("box.json, for the box's watchdog", told.render(self.clock()).decode())

    # --- on the box ---------------------------------------------------------------------------

    def open(self, entry: Entry, spec: RunSpec, say: Say) -> Transport:
        transport = self._reach(entry, say)
        self._wait_for_volume(entry, transport, say)
        purpose = Purpose(entry.deadline, entry.cap_usd, entry.usd_per_hour, entry.keep, 0.0)
        first = self._box_file(entry.label, str(entry.provider_id), purpose, entry.created, GRACE_S)
        python = self.settings.box.python
        say("the box lets us in: its watchdog comes first")
        shipping.guard(transport, first, python=python, clock=self.clock)
        wanted = 0 if self.settings.box.device == "cpu" else gpus_rented(entry.what)
        found = inspect(transport, rented_gpus=wanted, clock=self.clock)
        told = ""
        shipped = shipping.ship(
            transport, self._wheel(spec), python=python, cpu=self.settings.box.device == "cpu",
            wandb=reporting.is_needed(spec, self.settings),
            check=lambda plan: require_driver(found, plan.cuda),
        )  # fmt: skip
        for step in shipped:
            if step.text != told:
                say(step.text)
            told = step.text
            self._check_wanted(entry)
        return transport

    def runtime(self, run: Path, began_with: str | None, *, renew: bool, say: Say) -> str | None:
        if began_with is not None and not renew:
            for place in (run, self.home.wheels):
                if (found := wheel.kept(place, began_with)) is not None:
                    return (found if place == run else wheel.keep(found, run)).sha256
        today = wheel.build(self.home.wheels)
        if began_with not in (None, today.sha256):
            if not renew:
                raise NotFoundError(
                    f"the code that run {run.name} began with is lost: its wheel is neither in {run} nor in "
                    f"{self.home.wheels}, and what is installed here is another",
                    hint=f"`ups-console resume {run.name} --new-wheel` goes on with today's code",
                )
            say("! the run goes on with today's code, which is not the one that it began with")
        return wheel.keep(today, run).sha256

    def _wheel(self, spec: RunSpec) -> wheel.RuntimeWheel:
        """The run's own; today's for a run of a console that kept none."""
        found = wheel.kept(self.home.runs / spec.run, spec.runtime) if spec.runtime else None
        return found or wheel.build(self.home.wheels)

    def _reach(self, entry: Entry, say: Say) -> SshTransport:
        """Wait until the box lets this console in."""
        assert entry.provider_id is not None
        instance = entry.provider_id
        pace = self.provider.capabilities.pace

        def address() -> tuple[SshAddress | None, str]:
            self._check_wanted(entry)
            found = self.provider.get(instance)
            if found is None:
                raise ProviderError(f"{self.provider.name} has no instance {instance} (yet)")
            if found.image_problem:
                raise ImageError(f"the image cannot be had: {found.image_problem}",
                                 hint="is --image spelt right, and public?")  # fmt: skip
            if found.state is ProviderState.STOPPED:
                raise NeverStartsError(f"{instance} stopped before it could be reached: {found.status}")
            return found.ssh, found.status or str(found.state)

        waiting = wait_for_ssh(
            address,
            lambda place: self.doors.at(entry.label, place),
            timeout_s=START_PATIENCE_S * pace,
            login_patience_s=LOGIN_PATIENCE_S * pace,
            pause_s=PAUSE_S * pace,
        )
        while True:
            try:
                say(next(waiting))
            except StopIteration as ended:
                transport: SshTransport = ended.value
                return transport

    def _wait_for_volume(self, entry: Entry, transport: Transport, say: Say) -> None:
        """What is written before a box's volume is mounted would be hidden by it."""
        until = self.clock() + START_PATIENCE_S
        told = False
        while transport.size(VOLUME_PENDING) is not None:
            if not told:
                say("waiting until the box has mounted its volume")
                told = True
            if self.clock() > until:
                raise UnreachableError(
                    f"{entry.provider_id} has not mounted its volume within {START_PATIENCE_S / 60:.0f} min",
                    hint="`journalctl -u cloud-final` on the box says why",
                )
            self._check_wanted(entry)
            time.sleep(_PAUSE_S)

    def _check_wanted(self, entry: Entry) -> None:
        """Raises StoppedError where somebody has asked to end the instance meanwhile."""
        if not still_wanted(self.ledger, entry.label):
            raise StoppedError(f"{entry.provider_id} is no longer wanted: somebody tears it down")

    def for_box(self, spec: RunSpec, transport: Transport, rent: RentOptions) -> RunSpec:
        """Threads are the box's own; without a bucket its store is a directory there.

        A smoke test comes before training: an hour that fails at its end has cost money here.
        """
        store = spec.store if self._bucket else f"dir:{transport.absolute(_STORE)}"
        smoke = rent.smoke and spec.preprocess is None
        return spec.model_copy(update={"threads": None, "store": store, "smoke": smoke})

    def bring_data(self, spec: RunSpec, transport: Transport, say: Say) -> None:
        """Without a bucket: send the datasets, and what vouches for them, from the store here."""
        if self._bucket:
            return
        store = open_store(self.settings.store_url, self.settings.store_environment)
        for task in spec.tasks:
            manifest = catalog.manifest_key(task)
            listed = store.list(manifest.rpartition("/")[0] + "/")
            found = sorted(listed, key=lambda info: info.key == manifest)  # it vouches for what is there
            say(f"sending {task}: {sum(info.bytes for info in found) / 1e6:.1f} MB")
            for info in found:
                path = store.local_path(info.key)
                if path is not None:
                    transport.put_file(path, f"{_STORE}/{info.key}")

    def tell(self, transport: Transport, run_directory: str, entry: Entry, purpose: Purpose) -> None:
        keys = json.dumps(dict(self.settings.box_store_environment)).encode()
        transport.put(keys, _KEYS_FILE, mode=0o600)
        box = self._box_file(
            entry.label, str(entry.provider_id), purpose, entry.created, self._grace_s(purpose.keep),
            run_directory=transport.absolute(run_directory), python=transport.python,
        )  # fmt: skip
        transport.put(box.render(self.clock()), BOX_FILE, mode=0o600)

    def _box_file(
        self, label: str, instance: str, purpose: Purpose, started: float, grace_s: float,
        *, run_directory: str | None = None, python: str = "",
    ) -> BoxFile:  # fmt: skip
        publishes = run_directory is not None and not purpose.follows
        url = self.provider.capabilities.box_api
        destruction = Destruction("halt")
        if url:
            destruction = Destruction(
                "vast", url, instance, key_file=onstart.KEY_FILE, key_environment="CONTAINER_API_KEY"
            )
        return BoxFile(
            label=label,
            deadline=purpose.deadline,
            grace_s=grace_s,
            destroy=destruction,
            run_dir=run_directory,
            lease_s=None if purpose.keep or purpose.follows else LEASE_S,
            cap_usd=purpose.cap_usd or None,
            usd_per_hour=purpose.usd_per_hour,
            started=started,
            hold_on_failure_s=purpose.hold_on_failure_s,
            max_failures=None if purpose.keep else MAX_FAILURES,
            sync_argv=[python, "-m", "remote", "publish", "{run_dir}"] if publishes else [],
            sync_environment_file=_KEYS_FILE if publishes else None,
        )

    def environment(self) -> Mapping[str, str]:
        given = {} if self.settings.box.device is None else {DEVICE_VARIABLE: self.settings.box.device}
        return {**self.settings.box_store_environment, **given}

    @property
    def _bucket(self) -> bool:
        """Whether the store can be reached from a box."""
        return not self.settings.store_url.startswith("dir:")
