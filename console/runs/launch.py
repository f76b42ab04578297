"""From a request to a running run: the steps after what was checked before paying."""

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from console.api import DryStep, Launched, Level, Preflight, RentOptions
from console.errors import (
    AskedTooOftenError,
    LostAnswerError,
    NeverStartsError,
    OfferGoneError,
    ProviderError,
    StoppedError,
    UnfitError,
    UnreachableError,
)
from console.fleet.ledger import Entry, Ledger
from console.fleet.lifecycle import RentTerms, destroy, renting
from console.fleet.locks import FileLock
from console.fleet.model import InstanceSpec, InstanceState, Label, Offer
from console.runs import reporting, runtime
from console.runs.cursor import LAUNCH_LOG
from console.runs.jobs import Job
from console.runs.preflight import Examiner, before_paying, candidates, cap_usd, check_day_cap
from console.runs.registry import Registry, RunHandle
from console.runs.sites import Purpose, Say, Site
from console.runs.transport import Transport
from console.settings import Settings
from ups.errors import NotFoundError, StoreError, UpsError
from ups.rundir import (
    PRECOMPUTE_VARIABLE,
    RESET_VARIABLE,
    RunDirectory,
    RunSpec,
    render_spec,
)
from ups.variables import FILE_VARIABLE

MOST_RENTED = 3
"""So many machines are tried, one after the other, before a launch gives up."""
MOST_ASKED = 10
"""So many offers may turn out to be gone."""
_NOT_HEEDED = {FILE_VARIABLE: "", PRECOMPUTE_VARIABLE: "0", RESET_VARIABLE: "0"}
"""On this machine a run inherits the environment of whoever launches it; run.yaml says what it shall heed."""
_RENT_FILE = "rent.json"
_RENT_OPTIONS = TypeAdapter(RentOptions)


@dataclass(frozen=True, slots=True)
class Launcher:
    """Everything that a launch touches."""

    ledger: Ledger
    registry: Registry
    settings: Settings
    site: Site
    locks: Path
    guard: Callable[[], None]
    """Starts the detached guard, before anything is paid for."""

    def preflight(self, job: Job) -> Preflight:
        """Check everything that can be known; changes and spends nothing."""
        return Examiner(self.ledger, self.registry, self.settings, self.site).preflight(job)

    def dry_run(self, job: Job) -> list[DryStep]:
        """What `launch` would send, in its order, with secrets masked; changes and spends nothing.

        Raises:
            UpsError: the first failed check.
        """
        preflight = self._passed(job)
        spec = job.spec("0000-dry", self.settings)
        steps: list[DryStep] = []
        label = Label.new(self.ledger.console_id, time.time() + job.rent.max_hours * 3600)
        if job.rent.instance is None:
            offer = candidates(self.site.rank(job.rent), job.rent)[0]
            purpose = Purpose(
                float(label.deadline), preflight.cap_usd, offer.usd_per_hour, job.rent.keep,
                job.rent.hold_on_failure_s,
            )  # fmt: skip
            for _ in range(job.rent.instances):
                steps += self.site.preview(self.site.spec(str(label), offer, job.rent), purpose)
                label = Label.new(self.ledger.console_id, label.deadline)
        steps.append(DryStep("run.yaml", render_spec(spec)))
        command = ["python", "-m", "remote", "run", remote_directory(spec.run, spec.attempt)]
        names = sorted(self.environment(spec))
        steps.append(DryStep("run", "\n".join([" ".join(command), *(f"{name}=•••" for name in names)])))
        return steps

    def _passed(self, job: Job) -> Preflight:
        preflight = self.preflight(job)
        for check in preflight.checks:
            if check.level is Level.FAILED:
                raise runtime.error_of(check.code, check.text, check.hint)
        return preflight

    def launch(self, job: Job, say: Say, named: Say = lambda run: None) -> Launched:
        """Rent, ship, start; `named` is told the run's id before anything is rented.

        Raises:
            UpsError: the first failed check, or what the provider refused; nothing stays rented.
        """
        preflight = self._passed(job)
        handle = self.registry.new()
        runtime = self.site.runtime(handle.root, None, renew=True, say=say)
        spec = job.spec(handle.run, self.settings).model_copy(update={"runtime": runtime})
        local = handle.attempt(1)
        write_text(local.spec_path, render_spec(spec))
        write_text(handle.root / _RENT_FILE, _RENT_OPTIONS.dump_json(job.rent).decode())
        if job.note:
            write_text(handle.note_path, job.note)
        named(handle.run)
        if self.site.provider.capabilities.rented:
            for line in before_paying(preflight):
                say(line)
        with FileLock(launch_lock(self.locks, handle.run)):
            return self._land(spec, local, job.rent, preflight.cap_usd, say)

    def resume(
        self, handle: RunHandle, entry: Entry | None, say: Say, *, new_wheel: bool = False
    ) -> Launched:
        """Go on from the last checkpoint: in place where the box lives, else as a new attempt.

        The datasets, config and seed stay those that the first attempt pinned; so does what was asked of
        the machine, and the code, but with `new_wheel`.

        Raises:
            NotFoundError: the run's code is lost; nothing was rented.
        """
        previous = handle.latest
        spec = previous.read_spec()
        options = rent_options(handle, entry)
        with FileLock(launch_lock(self.locks, handle.run)):
            own = self.site.runtime(handle.root, spec.runtime, renew=new_wheel, say=say)
            spec = spec.model_copy(update={"runtime": own, "variables": _still_asked(spec, handle)})
            if entry is not None and entry.state is InstanceState.RUNNING and entry.keep:
                write_text(previous.spec_path, render_spec(spec))
                return self._start(entry, spec, RunDirectory(previous.root), options, say)
            number = spec.attempt + 1
            local = handle.attempt(number)
            spec = spec.model_copy(update={"attempt": number, "created": time.time()})
            write_text(local.spec_path, render_spec(spec))
            _link_checkpoints(previous, local)
            price = candidates(self.site.rank(options), options)[0].usd_per_hour * options.instances
            cap = entry.cap_usd if entry is not None else cap_usd(options, price, None)
            check_day_cap(self.ledger, self.settings, options, price, None)
            return self._land(spec, local, options, cap, say)

    # --- the steps ----------------------------------------------------------------------------

    def _land(
        self, spec: RunSpec, local: RunDirectory, options: RentOptions, cap: float, say: Say
    ) -> Launched:
        """Find an instance that works, and start the run there."""
        say = _logged(say, local.root / LAUNCH_LOG) if self.site.provider.capabilities.rented else _unheard
        if options.instances > 1:
            from console.runs.gang import GangLaunch

            return GangLaunch(self, spec, local, options, cap, say).land()
        if options.instance is not None:
            entry = self._kept(options.instance, spec)
            return self._start(entry, spec, local, options, say)
        failure: UpsError | None = None
        rented = 0
        for offer in candidates(self.site.rank(options), options)[:MOST_ASKED]:
            try:
                with self.renting(offer, spec, options, cap, say) as entry:
                    return self._start(entry, spec, local, options, say)
            except OfferGoneError as error:
                say(f"offer {offer.id} is gone: {error.message}")
                failure = error
                continue
            except LostAnswerError as error:
                say(error.message)
                newest = self.ledger.of_run(spec.run)[0]
                if newest.state is not InstanceState.REFUSED:
                    raise  # it may have been rented: nothing else is before that is known
                failure = error
                continue
            except AskedTooOftenError as error:  # the provider's next call waits until it may
                say(error.message)
                failure = error
                continue
            except UnfitError as error:
                say(f"that machine will not do: {error.message}")
                failure = error
            except (UnreachableError, NeverStartsError) as error:
                say(f"that machine cannot be reached: {error.message}")
                failure = error
            rented += 1
            if rented >= MOST_RENTED:
                break
        raise failure or ProviderError(f"{options.provider} has no offers")

    def _kept(self, instance: str, spec: RunSpec) -> Entry:
        entry = self.ledger.find(instance)
        if entry.state is not InstanceState.RUNNING or not entry.keep:
            raise NotFoundError(f"{instance} is no kept instance that runs",
                                hint="`ups-console fleet` lists them")  # fmt: skip
        self.ledger.assign(entry.label, spec.run, spec.attempt)
        return self.ledger.entry(entry.label)

    def renting(
        self, offer: Offer, spec: RunSpec, options: RentOptions, cap: float, say: Say, *, box: int = 0
    ) -> AbstractContextManager[Entry]:
        """Rent an offer for a run, and be the instance's actor inside."""
        say(f"renting {offer.gpu} of {offer.provider} at ${offer.usd_per_hour:.2f}/h (offer {offer.id})")
        if offer.usd_per_hour:
            self.guard()
        terms = RentTerms(
            run=spec.run,
            attempt=spec.attempt,
            deadline=time.time() + options.max_hours * 3600,
            cap_usd=cap,
            keep=options.keep,
            box=box,
        )
        provider = self.site.provider

        def spec_of(label: str) -> InstanceSpec:
            told = self.site.spec(label, offer, options)
            if told.public_key:
                provider.attach_key(told.public_key)
            return told

        return renting(self.ledger, provider, offer, terms, self.locks, spec_of=spec_of)

    def _start(
        self, entry: Entry, spec: RunSpec, local: RunDirectory, options: RentOptions, say: Say
    ) -> Launched:
        """Open an instance, ship the run directory there and start the runtime in it."""
        try:
            transport = self.site.open(entry, spec, say)
            entry = self.advance(entry, InstanceState.STARTING, InstanceState.REACHABLE, "transport open")
            remote = remote_directory(spec.run, spec.attempt)
            self.site.bring_data(spec, transport, say)
            ship(transport, local, remote, self.site.for_box(spec, transport, options))
            purpose = Purpose(
                entry.deadline, entry.cap_usd, entry.usd_per_hour, entry.keep, options.hold_on_failure_s
            )
            self.site.tell(transport, remote, entry, purpose)
            transport.start(
                [transport.python, "-m", "remote", "run", transport.absolute(remote)],
                remote,
                environment={"PYTHONUNBUFFERED": "1", **self.environment(spec)},
            )
            self.advance(entry, InstanceState.REACHABLE, InstanceState.RUNNING, f"run {spec.run} started")
        except (UpsError, KeyboardInterrupt):
            if options.instance is not None:
                raise  # it was there before, and stays
            say("that failed: tearing down what was rented")
            for text in destroy(
                self.ledger, self.site.provider, self.ledger.entry(entry.label), cause="start failed"
            ):
                say(text)
            raise
        say(f"run {spec.run} started on {entry.provider_id}")
        return Launched(spec.run, str(entry.provider_id))

    def environment(self, spec: RunSpec) -> dict[str, str]:
        """Of the run's process, keys among it."""
        told = reporting.environment(spec, self.settings)
        return {**self.site.environment(), **told, **_NOT_HEEDED, **spec.variables}

    def advance(self, entry: Entry, before: InstanceState, after: InstanceState, cause: str) -> Entry:
        """Note how far an instance is; a kept one is further already.

        Raises:
            StoppedError: somebody tore it down meanwhile.
        """
        now = self.ledger.entry(entry.label)
        if now.state is before:
            return self.ledger.move(entry.label, after, cause)
        if now.state not in (InstanceState.REACHABLE, InstanceState.RUNNING):
            raise StoppedError(f"{entry.provider_id} is {now.state}: it was torn down while it started")
        return now


def launch_lock(locks: Path, run: str) -> Path:
    """Held by whoever is renting, shipping or starting this run."""
    return locks / f"launch-{run}.lock"


def remote_directory(run: str, attempt: int) -> str:
    """Where a run lives on its box, relative to the box's directory."""
    return f"runs/{run}/attempt-{attempt}"


def rent_options(handle: RunHandle, entry: Entry | None) -> RentOptions:
    """What was asked of the machine when the run was launched; the very offer is gone by now."""
    try:
        stored = _RENT_OPTIONS.validate_json((handle.root / _RENT_FILE).read_bytes())
    except (FileNotFoundError, ValidationError):
        stored = RentOptions(
            provider=entry.provider if entry is not None else "local",
            keep=entry.keep if entry is not None else False,
        )
    return replace(stored, offer_id=None, instance=None)


def _still_asked(spec: RunSpec, handle: RunHandle) -> dict[str, str]:
    """The variables of a run that goes on: caches that it has built anew are built no second time."""
    done = (
        {RESET_VARIABLE} if RESET_VARIABLE in spec.variables and handle.has_finished("precompute") else set()
    )
    return {name: value for name, value in spec.variables.items() if name not in done}


def _unheard(text: str) -> None:
    """On this machine nothing is waited for."""


def _logged(say: Say, path: Path) -> Say:
    """Also write what is said into the mirror, so that every follower can read it."""

    def both(text: str) -> None:
        say(text)
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%H:%M:%S')} {text}\n")

    return both


def write_text(path: Path, text: str) -> None:
    """Write a file of the mirror, with its parents. Raises StoreError where that is not possible."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written: {error.strerror or error}",
            hint="set UPS_HOME to a directory with space that you may write",
        ) from error


def ship(transport: Transport, local: RunDirectory, remote: str, spec: RunSpec) -> None:
    """Bring a run directory to a box, with the checkpoints that the run goes on from."""
    transport.put(render_spec(spec).encode(), f"{remote}/run.yaml")
    for path in _going_on_with(local):
        transport.put_file(path, f"{remote}/{path.name}")
    for path in sorted(local.checkpoints.rglob("*")):
        if path.is_file():
            transport.put_file(path, f"{remote}/{path.relative_to(local.root).as_posix()}")


def _link_checkpoints(previous: RunDirectory, local: RunDirectory) -> None:
    """The new attempt starts from the old one's checkpoints; the files are never changed in place."""
    for path in sorted(previous.checkpoints.rglob("*")):
        if path.is_file():
            target = local.checkpoints / path.relative_to(previous.checkpoints)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target)
    for path in _going_on_with(previous):
        os.link(path, local.root / path.name)


def _going_on_with(directory: RunDirectory) -> list[Path]:
    """What checkpoints alone do not tell: the data that they were trained on, what each stage has reached."""
    return [path for path in (directory.datasets_path, directory.stages_path) if path.exists()]
