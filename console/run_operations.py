"""What a user can do with configs and runs."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.api import (
    ConfigEntry,
    FollowBatch,
    Launched,
    LaunchRequest,
    Preflight,
    Progress,
    RunRow,
    RunStatus,
)
from console.context import Context
from console.fleet.model import Offer, OfferQuery
from ups.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from console.runs.follow import Follower
    from console.runs.launch import Launcher
    from console.runs.registry import RunHandle


class RunOperations(Context):
    """From a config to a report."""

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
        return self.provider(provider).offers(OfferQuery())

    def _launcher(self, provider: str) -> "Launcher":
        from console.runs.launch import Launcher

        return Launcher(self.ledger, self.registry, self.provider(provider), self.settings, self.home.locks)

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

    def _follower(self, run: str) -> "Follower":
        from console.runs.follow import Follower
        from console.runs.registry import instance_of

        entry = instance_of(self.ledger, run)
        if entry is None:
            raise NotFoundError(f"the ledger has no instance of run {run}")
        return Follower(self.ledger, self.provider(entry.provider), self.teardown_of(entry), self.home.locks)

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
        return self._follower(handle.run).catch_up(handle)

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
            for _ in self.teardown_of(entry).steps(entry, "resumed elsewhere"):
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
        ttc: bool = False,
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
            ttc: choose among several candidates of each step too, beside not doing so.
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
        if ttc:
            arguments.append("--ttc")
        record, _ = self.remote(arguments, progress)
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
