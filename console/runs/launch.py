"""From a request to a running run: what is checked before paying, and the steps after it."""

import json
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from console.api import DEFAULT_MAX_HOURS, Check, Launched, LaunchRequest, Level, Preflight, RunStatus
from console.errors import ProviderError
from console.fleet import money
from console.fleet.ledger import Entry, Ledger
from console.fleet.lifecycle import RentTerms, destroy, rent
from console.fleet.model import InstanceState, Offer, OfferQuery
from console.fleet.providers.base import Provider
from console.runs import configs, data, runtime
from console.runs.registry import Registry, RunHandle
from console.runs.transport import Transport
from console.settings import Settings
from ups.dataset_keys import KEY_VARIABLE
from ups.errors import NotFoundError, StoreError, UpsError
from ups.rundir import (
    PRECOMPUTE_VARIABLE,
    RESET_VARIABLE,
    RunDirectory,
    RunSpec,
    code_version,
    config_sha256,
    render_spec,
)

if TYPE_CHECKING:
    from ups.config import TrainConfig

GRACE_S = 2.0
"""A box on this machine waits so long after its run: its files can be read when it is gone."""
KEPT_GRACE_S = 10 * 365 * 86400.0
_MINIMUM_FREE_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Launcher:
    """Everything that a launch touches."""

    ledger: Ledger
    registry: Registry
    provider: Provider
    settings: Settings
    locks: Path

    # --- before paying ------------------------------------------------------------------------

    def preflight(self, request: LaunchRequest, history: Sequence[float]) -> Preflight:
        """Check everything that can be known; changes and spends nothing.

        Args:
            request: what shall run.
            history: seconds that earlier runs of the same config took here.
        """
        checks: list[Check] = []
        tasks: tuple[str, ...] = request.tasks
        config = None
        try:
            path, config = _resolve(request)
            tasks = config.data.task
            checks.append(Check(Level.OK, f"config {path.stem} valid, {len(tasks)} tasks"))
        except UpsError as error:
            checks.append(_failed(error))
        if config is not None:
            checks.extend(_supported(config))
            checks.extend(self._data_checks(config, request))
        checks.extend(self._machine_checks())
        offer = self._offer(request, checks)
        price = offer.usd_per_hour if offer else 0.0
        expected = statistics.median(history) if history else None
        expected_usd = expected / money.SECONDS_PER_HOUR * price if expected is not None else None
        if price == 0.0:
            expected_usd = 0.0
        try:
            money.check_caps(
                self.ledger.entries(),
                time.time(),
                expected_usd=expected_usd or 0.0,
                cap_run_usd=request.budget_usd,
                cap_day_usd=self.settings.cap_usd_per_day,
            )
        except UpsError as error:
            checks.append(_failed(error))
        return Preflight(
            checks=tuple(checks),
            tasks=tasks,
            usd_per_hour=price,
            expected_seconds=expected,
            expected_usd=expected_usd,
            cap_usd=request.budget_usd if request.budget_usd is not None else 3 * (expected_usd or 0.0),
            deadline_hours=request.max_hours,
        )

    def _data_checks(self, config: "TrainConfig", request: LaunchRequest) -> Iterator[Check]:
        from ups.store import open_store

        try:
            store = open_store(self.settings.store_url, self.settings.store_environment)
        except UpsError as error:
            yield _failed(error)
            return
        yield from data.checks(store, config.data.task)
        if _precomputes(request) or request.cache_version is not None:
            yield from data.cache_checks(store, config, request)

    def _machine_checks(self) -> Iterator[Check]:
        from ups.store import free_bytes

        missing = runtime.missing_modules()
        if missing:
            yield Check(Level.FAILED, f"{', '.join(missing)} not installed here",
                        hint="pip install 'ups-console[train]'", code="config")  # fmt: skip
        try:
            self.registry.check_writable()
        except StoreError as error:
            yield _failed(error)
            return
        free = free_bytes(self.registry.root)
        if free < _MINIMUM_FREE_BYTES:
            yield Check(Level.FAILED, f"only {free / 2**20:.0f} MB of disk are free",
                        hint="free some, or set UPS_HOME elsewhere", code="store")  # fmt: skip
        else:
            yield Check(Level.OK, f"{free / 2**30:.0f} GB of disk free")

    def _offer(self, request: LaunchRequest, checks: list[Check]) -> Offer | None:
        try:
            offer = choose_offer(self.provider, request.offer_id)
        except UpsError as error:
            checks.append(_failed(error))
            return None
        checks.append(Check(Level.OK, f"{offer.provider}: {offer.gpu}, {offer.cpu_cores} cores, "
                                      f"${offer.usd_per_hour:.2f}/h"))  # fmt: skip
        return offer

    # --- after it -----------------------------------------------------------------------------

    def launch(self, request: LaunchRequest, history: Sequence[float]) -> Launched:
        """Rent, ship, start.

        Raises:
            UpsError: the first failed check, or what the provider refused; nothing stays rented.
        """
        preflight = self.preflight(request, history)
        for check in preflight.checks:
            if check.level is Level.FAILED:
                raise runtime.error_of(check.code, check.text, check.hint)
        path, config = _resolve(request)
        handle = self.registry.new()
        spec = self._spec(handle.run, path.stem, config, request)
        local = handle.attempt(1)
        _write(local.spec_path, render_spec(spec))
        if request.note:
            _write(handle.note_path, request.note)
        entry = self._instance(request, handle, preflight)
        return self.start(entry, spec, local)

    def _instance(self, request: LaunchRequest, handle: RunHandle, preflight: Preflight) -> Entry:
        if request.instance is not None:
            entry = self.ledger.find(request.instance)
            if entry.state is not InstanceState.RUNNING or not entry.keep:
                raise NotFoundError(f"{request.instance} is no kept instance that runs",
                                    hint="`ups-console fleet` lists them")  # fmt: skip
            self.ledger.assign(entry.label, handle.run, 1)
            return self.ledger.entry(entry.label)
        return rent(
            self.ledger,
            self.provider,
            choose_offer(self.provider, request.offer_id),
            RentTerms(
                run=handle.run,
                attempt=1,
                deadline=time.time() + request.max_hours * 3600,
                cap_usd=preflight.cap_usd,
                keep=request.keep,
                grace_s=KEPT_GRACE_S if request.keep else GRACE_S,
            ),
            self.locks,
        )

    def _spec(self, run: str, name: str, config: "TrainConfig", request: LaunchRequest) -> RunSpec:
        from ups.store import open_store

        pins = data.pins(
            open_store(self.settings.store_url, self.settings.store_environment), config.data.task
        )
        return RunSpec(
            run=run,
            attempt=1,
            name=name,
            created=time.time(),
            config=config,
            tasks=config.data.task,
            stages=config.stages.names,
            seed=config.seed,
            threads=_threads(),
            store=self.settings.store_url,
            datasets=pins,
            code_version=code_version(),
            config_sha256=config_sha256(config),
            precompute=_precomputes(request),
            cache_version=request.cache_version,
            cache_dtype=request.cache_dtype,
        )

    def start(self, entry: Entry, spec: RunSpec, local: RunDirectory) -> Launched:
        """Ship a run directory to an instance and start the runtime in it."""
        assert entry.provider_id is not None
        try:
            transport = self.provider.transport(entry.provider_id)
            if entry.state is InstanceState.STARTING:
                entry = self.ledger.move(entry.label, InstanceState.REACHABLE, "transport open")
            remote = remote_directory(spec.run, spec.attempt)
            _ship(transport, local, remote)
            _tell_watchdog(transport, remote)
            transport.start(
                [transport.python, "-m", "remote", "run", transport.absolute(remote)],
                remote,
                environment={"PYTHONUNBUFFERED": "1", **self.settings.store_environment, **_passed_on()},
            )
            if entry.state is InstanceState.REACHABLE:
                self.ledger.move(entry.label, InstanceState.RUNNING, f"run {spec.run} started")
        except UpsError:
            for _ in destroy(
                self.ledger, self.provider, self.ledger.entry(entry.label), cause="start failed"
            ):
                pass
            raise
        return Launched(spec.run, str(entry.provider_id))

    def resume(self, handle: RunHandle, entry: Entry | None, status: RunStatus) -> Launched:
        """Go on from the last checkpoint: in place where the box lives, else as a new attempt.

        The datasets, config and seed stay those that the first attempt pinned.
        """
        previous = handle.latest
        spec = previous.read_spec()
        if entry is not None and entry.state is InstanceState.RUNNING and entry.keep:
            return self.start(entry, spec, RunDirectory(previous.root))
        number = spec.attempt + 1
        local = handle.attempt(number)
        spec = spec.model_copy(update={"attempt": number, "created": time.time()})
        _write(local.spec_path, render_spec(spec))
        _link_checkpoints(previous, local)
        new = rent(
            self.ledger,
            self.provider,
            choose_offer(self.provider, None),
            RentTerms(
                run=handle.run,
                attempt=number,
                deadline=time.time() + DEFAULT_MAX_HOURS * 3600,
                cap_usd=entry.cap_usd if entry is not None else 0.0,
                keep=entry.keep if entry is not None else False,
                grace_s=GRACE_S,
            ),
            self.locks,
        )
        return self.start(new, spec, local)


def choose_offer(provider: Provider, offer_id: str | None) -> Offer:
    """The offer of that id, or the cheapest.

    Raises:
        ProviderError: there is none.
    """
    offers = provider.offers(OfferQuery())
    chosen = [offer for offer in offers if offer_id in (None, offer.id)]
    if not chosen:
        wanted = f"no offer {offer_id}" if offer_id else "no offers"
        raise ProviderError(f"{provider.name} has {wanted}", hint="`ups-console offers` lists them")
    return chosen[0]


def remote_directory(run: str, attempt: int) -> str:
    """Where a run lives on its box, relative to the box's directory."""
    return f"runs/{run}/attempt-{attempt}"


def _passed_on() -> dict[str, str]:
    """What the machine has to know of this environment; run.yaml alone says whether caches are asked for."""
    known = {name: os.environ[name] for name in (KEY_VARIABLE, RESET_VARIABLE) if name in os.environ}
    return {**known, PRECOMPUTE_VARIABLE: "0"}


def _precomputes(request: LaunchRequest) -> bool:
    if request.precompute is not None:
        return request.precompute
    return os.environ.get(PRECOMPUTE_VARIABLE, "0") not in ("", "0")


def _failed(error: UpsError) -> Check:
    return Check(Level.FAILED, error.message, hint=error.hint, code=error.code)


def _resolve(request: LaunchRequest) -> "tuple[Path, TrainConfig]":
    return configs.load(request.config, tasks=request.tasks, stage=request.stage, overrides=request.overrides)


def _supported(config: "TrainConfig") -> Iterator[Check]:
    from ups.capabilities import unsupported

    for problem in unsupported(config):
        yield Check(Level.FAILED, problem, hint="`--stage operator` runs that stage alone", code="config")
    if config.logging.wandb.enabled:
        yield Check(Level.WARNING, "W&B is not available in this version: metrics stay here")


def _threads() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        return os.cpu_count() or 1


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written: {error.strerror or error}",
            hint="set UPS_HOME to a directory with space that you may write",
        ) from error


def _ship(transport: Transport, local: RunDirectory, remote: str) -> None:
    transport.put(local.spec_path.read_bytes(), f"{remote}/run.yaml")
    if local.datasets_path.exists():
        transport.put_file(local.datasets_path, f"{remote}/{local.datasets_path.name}")
    for path in sorted(local.checkpoints.rglob("*")):
        if path.is_file():
            transport.put_file(path, f"{remote}/{path.relative_to(local.root).as_posix()}")


def _tell_watchdog(transport: Transport, remote: str) -> None:
    box = json.loads(transport.read("box.json"))
    box["run_dir"] = transport.absolute(remote)
    transport.put(json.dumps(box).encode(), "box.json", mode=0o600)


def _link_checkpoints(previous: RunDirectory, local: RunDirectory) -> None:
    """The new attempt starts from the old one's checkpoints; the files are never changed in place."""
    for path in sorted(previous.checkpoints.rglob("*")):
        if path.is_file():
            target = local.checkpoints / path.relative_to(previous.checkpoints)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target)
    if previous.datasets_path.exists():  # it goes on with the data that they were trained on
        os.link(previous.datasets_path, local.datasets_path)
