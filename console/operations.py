"""The one door to everything a user can do; the CLI and the TUI call nothing else.

Each operation is a typed method of `Operations`. Long ones are generators, or take a `progress`
callback, and may be run in a thread. Errors are `ups.errors.UpsError`s with a message and a hint.
Heavy modules are imported where they are used: opening the console must be quick.
"""

import time
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.api import (
    CacheRow as CacheRow,
)
from console.api import (
    Check as Check,
)
from console.api import (
    ConfigEntry as ConfigEntry,
)
from console.api import (
    DatasetRow as DatasetRow,
)
from console.api import (
    FollowBatch as FollowBatch,
)
from console.api import (
    InstanceRow as InstanceRow,
)
from console.api import (
    Launched as Launched,
)
from console.api import (
    LaunchRequest as LaunchRequest,
)
from console.api import (
    Level as Level,
)
from console.api import (
    Money as Money,
)
from console.api import (
    Preflight as Preflight,
)
from console.api import (
    Progress as Progress,
)
from console.api import (
    RunRow as RunRow,
)
from console.api import (
    RunStatus as RunStatus,
)
from console.api import (
    SplitInfo as SplitInfo,
)
from console.api import (
    TeardownStep as TeardownStep,
)
from console.api import (
    Transition as Transition,
)
from console.fleet.model import InstanceKind as InstanceKind
from console.fleet.model import InstanceState as InstanceState
from console.fleet.model import Offer as Offer
from ups.errors import ConfigError, NotFoundError, UsageError

if TYPE_CHECKING:
    from console.fleet.ledger import Entry, Ledger
    from console.fleet.providers.base import Provider
    from console.home import Home
    from console.runs.follow import Follower
    from console.runs.launch import Launcher
    from console.runs.registry import Registry, RunHandle
    from console.runs.teardown import Teardown
    from console.settings import Settings
    from ups.store import ObjectStore
    from ups.tasks import TaskSpec


class Operations:
    """Everything a user can do, over one home. Methods may be called from several threads."""

    def __init__(self, home: "Home") -> None:
        self.home = home

    @cached_property
    def settings(self) -> "Settings":
        from console.settings import read_settings

        return read_settings(self.home)

    @cached_property
    def ledger(self) -> "Ledger":
        from console.fleet.ledger import Ledger

        return Ledger(self.home.ledger)

    @cached_property
    def registry(self) -> "Registry":
        from console.runs.registry import Registry

        return Registry(self.home.runs)

    def store(self) -> "ObjectStore":
        from ups.store import open_store

        return open_store(self.settings.store_url)

    @cached_property
    def providers(self) -> "dict[str, Provider]":
        """The configured providers by name."""
        from console.fleet.providers.local import LocalProvider

        local: Provider = LocalProvider(self.home.instances)
        return {local.name: local}

    def provider(self, name: str) -> "Provider":
        """Raises UsageError where no such provider is available."""
        try:
            return self.providers[name]
        except KeyError:
            known = ", ".join(self.providers)
            raise UsageError(f"provider {name!r} is not available", hint=f"available: {known}") from None

    def doctor(self) -> list[Check]:
        """What is configured and whether it works; spends and changes nothing."""
        from console.doctor import examine

        return examine(self)

    # --- data -------------------------------------------------------------------------------

    def tasks(self) -> "list[TaskSpec]":
        """The 15 tasks."""
        from ups.tasks import TASK_SPECS

        return list(TASK_SPECS.values())

    def datasets(self) -> list[DatasetRow]:
        """All 15 tasks, the missing ones included.

        Raises:
            StoreError: the store cannot be read.
        """
        from console.rows import dataset_row
        from ups import catalog

        entries = {entry.task: entry for entry in catalog.datasets(self.store())}
        used = self.registry.runs_by_task()
        return [dataset_row(spec, entries.get(spec.name), used[spec.name]) for spec in self.tasks()]

    def caches(self) -> list[CacheRow]:
        """The latent caches in the store."""
        from ups.data import latents

        return [
            CacheRow(
                entry.version, entry.task, entry.split, entry.state, entry.bytes, entry.samples, entry.note
            )
            for entry in latents.caches(self.store())
        ]

    def make_data(
        self,
        tasks: Sequence[str],
        *,
        samples: int | None = None,
        seed: int = 0,
        replace: bool = False,
        progress: Progress | None = None,
    ) -> list[str]:
        """Generate datasets with the reference solvers into the store.

        Args:
            tasks: names of tasks that have a solver.
            samples: initial conditions per task; None: the solver's default.
            seed: of the solvers.
            replace: replace a dataset that differs.
            progress: told what is being done.

        Returns:
            What the user should know beside the success.

        Raises:
            UpsError: unknown task, no solver, store not writable; the store is as it was.
        """
        from ups.tasks import task_spec

        for task in tasks:
            if not task_spec(task).has_solver:
                raise ConfigError(f"{task} has no built-in solver", hint="import raw files of it instead")
        arguments = ["make", *tasks, "--store", self.settings.store_url, "--seed", str(seed)]
        if samples is not None:
            arguments += ["--samples", str(samples)]
        return self._remote([*arguments, *_replacing(replace)], progress)[1]

    def import_data(
        self, task: str, files: Sequence[Path], *, replace: bool = False, progress: Progress | None = None
    ) -> list[str]:
        """Convert raw PDEBench-layout files into the store; answers and raises like `make_data`."""
        from ups.tasks import task_spec

        task_spec(task)
        for file in files:
            if not file.is_file():
                raise NotFoundError(f"there is no file {file}")
        paths = [str(file.absolute()) for file in files]
        arguments = ["import", task, *paths, "--store", self.settings.store_url]
        return self._remote([*arguments, *_replacing(replace)], progress)[1]

    def build_caches(
        self,
        version: str,
        tasks: Sequence[str],
        *,
        dtype: str = "float16",
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """Fill a latent cache version for tasks; what is there and fits is kept.

        Raises:
            UpsError: the version's name states no shape, a dataset is missing, the store is full.
        """
        arguments = ["precompute", *tasks, "--cache-version", version, "--cache-dtype", dtype]
        return self._remote([*arguments, "--store", self.settings.store_url], progress)[0]

    def _remote(self, arguments: list[str], progress: Progress | None) -> "tuple[dict[str, Any], list[str]]":
        """The last record of `python -m remote ARGUMENTS`, and its warnings."""
        from console.runs import runtime

        warnings: list[str] = []

        def on_record(record: dict[str, Any]) -> None:
            if record.get("type") == "warning":
                warnings.append(str(record.get("message")))
            elif progress is not None and record.get("type") == "progress":
                progress(str(record.get("task") or record.get("phase")), record["done"], record["total"])

        return runtime.call(arguments, on_record), warnings

    def verify_data(self, tasks: Sequence[str], progress: Progress | None = None) -> dict[str, str]:
        """Read every byte of the datasets; task → its state. Empty `tasks`: all that the store has."""
        from ups import catalog

        store = self.store()
        names = tasks or [entry.task for entry in catalog.datasets(store)]
        return {task: catalog.verify(store, task, progress or _silent).state for task in names}

    def delete_data(self, task: str) -> None:
        """Remove a dataset from the store. Raises NotFoundError where there is none."""
        from ups import catalog

        catalog.delete(self.store(), task)

    # --- runs -------------------------------------------------------------------------------

    def configs(self) -> list[ConfigEntry]:
        """The shipped training configs, each with why it cannot be launched, if so."""
        from console.runs import configs, history

        entries = []
        for path in configs.shipped():
            seconds = history.durations(self.registry, path.stem)
            entries.append(configs.describe(path, seconds))
        return entries

    def validate(self, config: Path, overrides: Sequence[str] = ()) -> ConfigEntry:
        """Check a config, training or evaluation.

        Raises:
            ConfigError: names file, line and key.
        """
        from console.runs import configs

        return configs.validate(config, overrides)

    def offers(self, provider: str = "local") -> list[Offer]:
        """What may be rented, the cheapest first."""
        return self.provider(provider).offers()

    def _launcher(self, provider: str) -> "Launcher":
        from console.runs.launch import Launcher

        return Launcher(self.ledger, self.registry, self.provider(provider), self.settings)

    def preflight(self, request: LaunchRequest) -> Preflight:
        """Everything that can be known before paying; changes and spends nothing."""
        return self._launcher(request.provider).preflight(request, self._durations(request))

    def launch(self, request: LaunchRequest) -> Launched:
        """Rent, ship and start; returns once the run's process was started.

        Raises:
            UpsError: the first failed check, or what the provider refused; nothing stays rented.
        """
        return self._launcher(request.provider).launch(request, self._durations(request))

    def _durations(self, request: LaunchRequest) -> list[float]:
        from console.runs import history

        return history.durations(self.registry, request.config.stem)

    def _teardown(self, entry: "Entry") -> "Teardown":
        from console.runs.teardown import Teardown

        provider = self.provider(entry.provider)
        return Teardown(self.ledger, self.registry, provider, self.home.locks, self.store)

    def _follower(self, run: str) -> "Follower":
        from console.runs.follow import Follower
        from console.runs.registry import instance_of

        entry = instance_of(self.ledger, run)
        if entry is None:
            raise NotFoundError(f"the ledger has no instance of run {run}")
        return Follower(self.ledger, self.provider(entry.provider), self._teardown(entry), self.home.locks)

    def follow(self, run: str) -> Iterator[FollowBatch]:
        """Mirror a run and yield what is new until it ended and, unless kept, is torn down.

        The first batches hold what the mirror has already. Several followers may run at once.
        """
        handle = self.registry.find(run)
        yield from self._follower(handle.run).follow(handle)

    def read(self, run: str) -> Iterator[FollowBatch]:
        """What the mirror of a run holds, without following it."""
        from console.runs.follow import Cursor

        handle = self.registry.find(run)
        cursor, status = Cursor(self.ledger, handle), self.status(handle)
        while True:
            batch = cursor.read(status)
            if not (batch.events or batch.log or batch.transitions):
                return
            yield batch

    def status(self, handle: "RunHandle") -> RunStatus:
        """How a run stands, from its mirror, the ledger and, where one can look, its process."""
        from console.runs.registry import instance_of, status_of

        entry = instance_of(self.ledger, handle.run)
        if entry is None:
            return status_of(handle.latest, None, process_alive=None, now=time.time())
        follower = self._follower(handle.run)
        return follower.status(handle, entry, follower.transport_of(entry))

    def runs(self) -> list[RunRow]:
        """All runs, the newest first."""
        from console.runs import history

        return history.rows(self.registry, self.ledger, self.status)

    def run(self, run: str) -> RunRow:
        """One run. Raises NotFoundError where no run, or more than one, begins with that."""
        from console.runs import history

        return history.row(self.registry.find(run), self.ledger, self.status)

    def run_directories(self, run: str) -> list[Path]:
        """The mirrored run directories, attempt by attempt."""
        return [directory.root for directory in self.registry.find(run).attempts()]

    def report(self, run: str) -> dict[str, Any]:
        """The evaluation of a run. Raises NotFoundError where it has none yet."""
        from console.runs import history

        return history.read_report(self.registry.find(run).latest)

    def stop(self, run: str) -> None:
        """Ask a run to stop at its next safe point; its follower then tears the instance down.

        Raises:
            NotFoundError: no process of the run lives.
        """
        from console.runs.launch import remote_directory
        from console.runs.registry import instance_of

        handle = self.registry.find(run)
        entry = instance_of(self.ledger, handle.run)
        transport = self._follower(handle.run).transport_of(entry)
        if (
            entry is None
            or transport is None
            or not transport.terminate(remote_directory(handle.run, entry.attempt or 1))
        ):
            raise NotFoundError(f"run {handle.run} is not running")

    def resume(self, run: str) -> Launched:
        """Go on with a run from its last checkpoint.

        Raises:
            UsageError: it is running, or it succeeded.
        """
        from console.runs.registry import instance_of

        handle = self.registry.find(run)
        status = self.status(handle)
        if not status.ended or status is RunStatus.SUCCEEDED:
            raise UsageError(f"run {handle.run} {'is' if not status.ended else 'has'} {status}",
                             hint="only a failed, stopped or lost run can be resumed")  # fmt: skip
        entry = instance_of(self.ledger, handle.run)
        if entry is not None and entry.living and not entry.keep:
            for _ in self._teardown(entry).steps(entry, "resumed elsewhere"):
                pass
            entry = self.ledger.entry(entry.label)
        return self._launcher(entry.provider if entry else "local").resume(handle, entry, status)

    def evaluate(
        self,
        target: str,
        *,
        config: Path | None = None,
        splits: Sequence[str] = (),
        data: Path | None = None,
        task: str | None = None,
        predictions: Path | None = None,
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """Judge a run's best checkpoint, or a checkpoint's path, here.

        Args:
            target: run id or path.
            config: evaluation config.
            splits: of the run's datasets; empty: test.
            data: a raw or converted file whose samples are all evaluated instead; needs `task`.
            task: task of `data`.
            predictions: write predictions and truth to this npz.
            progress: told what is being done.
        """
        from console.runs import runtime

        runtime.require_train_extra()
        path = Path(target)
        where = path.absolute() if path.exists() else self.registry.find(target).latest.root
        arguments = ["evaluate", str(where), "--store", self.settings.store_url]
        for split in splits:
            arguments += ["--split", split]
        for option, value in (("--config", config), ("--data", data), ("--predictions", predictions)):
            if value is not None:
                arguments += [option, str(value.absolute())]
        if task is not None:
            arguments += ["--task", task]
        record, _ = self._remote(arguments, progress)
        return dict(record["report"])

    def note(self, run: str, text: str) -> None:
        """Replace a run's note."""
        self.registry.find(run).note_path.write_text(text)

    def remove_run(self, run: str) -> None:
        """Forget a run's mirror. Raises UsageError while an instance of it lives."""
        import shutil

        handle = self.registry.find(run)
        if any(entry.living for entry in self.ledger.of_run(handle.run)):
            raise UsageError(f"an instance of run {handle.run} still lives", hint="tear it down first")
        shutil.rmtree(handle.root)

    # --- fleet ------------------------------------------------------------------------------

    def fleet(self) -> list[InstanceRow]:
        """Every instance that is, or was, ours, and what else the providers list; living ones first."""
        from console.fleet.reconcile import reconcile
        from console.rows import instance_row

        sightings = reconcile(self.ledger, self.providers.values())
        rows = [instance_row(sighting, self.registry) for sighting in sightings]
        rows.sort(key=lambda row: (row.state is InstanceState.DESTROYED, -row.created))
        return rows

    def transitions(self, label: str) -> list[Transition]:
        """The history of an instance."""
        return [
            Transition(row.t, row.label, row.before, row.after, row.cause)
            for row in self.ledger.history(label)
        ]

    def reconcile(self) -> list[Transition]:
        """Hold the ledger against the providers, finish what other consoles left undone.

        An instance of ours whose run is over, and that nobody keeps, is torn down.
        """
        from console.rows import transition

        before = {entry.label: self.ledger.history(entry.label)[-1].id for entry in self.ledger.entries()}
        for row in self.fleet():
            if row.kind is InstanceKind.OURS and row.state is InstanceState.STOPPED:
                for _ in self.teardown(row.label):
                    pass
        return [
            transition(row)
            for entry in self.ledger.entries()
            for row in self.ledger.history(entry.label, after=before.get(entry.label, 0))
        ]

    def money(self) -> Money:
        """The top line: what is rented and what it costs, as the ledger knows it."""
        from console.fleet import money

        entries = self.ledger.entries()
        return Money(
            usd_per_hour=money.usd_per_hour(entries),
            usd_today=money.usd_today(entries, time.time()),
            cap_usd_per_day=self.settings.cap_usd_per_day,
            running=sum(entry.living for entry in entries),
            orphans=self._orphans(),
        )

    def _orphans(self) -> int:
        from console.fleet.reconcile import kind_of

        known = {entry.label: entry for entry in self.ledger.entries()}
        listed = [remote for provider in self.providers.values() for remote in provider.list()]
        return sum(kind_of(r, self.ledger.console_id, known) is InstanceKind.ORPHAN for r in listed)

    def teardown(self, instance: str) -> Iterator[TeardownStep]:
        """Sync, destroy, verify; accepts an instance's id, its label, or a run.

        Raises:
            NotFoundError: no such instance.
            TeardownNotVerifiedError: it may still exist, and still cost money.
        """
        entry = self._find_instance(instance)
        if entry is None:
            yield from self._destroy_orphan(instance)
        else:
            yield from self._teardown(entry).steps(entry, "teardown")

    def _find_instance(self, name: str) -> "Entry | None":
        try:
            return self.ledger.find(name)
        except NotFoundError:
            try:
                run = self.registry.find(name).run
            except NotFoundError:
                return None
            return next(iter(self.ledger.of_run(run)), None)

    def _destroy_orphan(self, name: str) -> Iterator[TeardownStep]:
        from console.fleet.model import Label

        for provider in self.providers.values():
            for remote in provider.list():
                if name in (remote.id, remote.label) and Label.parse(remote.label) is not None:
                    provider.destroy(remote.id)
                    yield TeardownStep("destroy", f"destroy sent to {remote.id}")
                    if provider.get(remote.id) is None:
                        yield TeardownStep("destroyed", f"{remote.id} is gone", done=True)
                        return
        raise NotFoundError(f"there is no instance or run {name!r}", hint="`ups-console fleet` lists them")


def _replacing(replace: bool) -> list[str]:
    return ["--replace"] if replace else []


def _silent(what: str, done: int, total: int) -> None:
    """Progress that nobody asked for."""
