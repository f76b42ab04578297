"""What a user can do with configs and runs."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.api import (
    ConfigEntry,
    DryStep,
    FollowBatch,
    Launched,
    Market,
    Preflight,
    Progress,
    RentOptions,
    RunRequest,
    RunRow,
    RunStatus,
)
from console.context import Context
from console.errors import ProviderError
from console.fleet.model import ANY_MACHINE, InstanceState, OfferQuery
from ups.errors import NotFoundError, UpsError, UsageError

if TYPE_CHECKING:
    from console.fleet.ledger import Entry
    from console.runs.follow import Follower
    from console.runs.jobs import Job
    from console.runs.launch import Launcher
    from console.runs.registry import RunHandle
    from console.runs.replay import Replay


Say = Callable[[str], None]
"""Told of each step of a launch."""


def _job(request: RunRequest) -> "Job":
    from console.runs.jobs import job_of

    return job_of(request)


def _unheard(text: str) -> None:
    """Nobody listens."""


class RunOperations(Context):
    """From a config to a report."""

    def configs(self) -> list[ConfigEntry]:
        """The shipped training configs and the user's own, each with why it cannot be launched, if so.

        One of the user's hides a shipped one of the same name.
        """
        from console.runs import configs, history

        entries = []
        paths = {path.stem: path for path in (*configs.shipped(), *configs.of_user(self.home.configs))}
        for path in paths.values():
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

    def offers(self, provider: str = "local", query: OfferQuery = ANY_MACHINE) -> Market:
        """What a provider would rent, the best first, and why the rest was passed over.

        Raises:
            ProviderError: it could not be asked.
        """
        ranking = self.site(provider).rank(RentOptions(provider=provider, query=query))
        problem, hint = (ranking.problem.message, ranking.problem.hint) if ranking.problem else ("", "")
        return Market(provider, ranking.chosen, ranking.passed_over, problem, hint)

    def markets(self, query: OfferQuery = ANY_MACHINE) -> list[Market]:
        """The same of every configured provider; one that fails says why and hides no other."""
        found = []
        for name in self.providers:
            try:
                found.append(self.offers(name, query))
            except UpsError as error:
                found.append(Market(name, (), (), error.message, error.hint))
        return found

    def _launcher(self, provider: str) -> "Launcher":
        from console.runs.launch import Launcher

        site = self.site(provider)
        return Launcher(self.ledger, self.registry, self.settings, site, self.home.locks, self.start_guard)

    def preflight(self, request: RunRequest) -> Preflight:
        """Everything that can be known before paying; changes and spends nothing.

        Raises:
            UpsError: of a preprocessing: what is wished makes no job.
        """
        return self._launcher(request.rent.provider).preflight(_job(request))

    def dry_run(self, request: RunRequest) -> list[DryStep]:
        """The requests, scripts and files of a launch, with secrets masked; nothing is sent.

        Raises:
            UpsError: the first failed check.
        """
        return self._launcher(request.rent.provider).dry_run(_job(request))

    def launch(self, request: RunRequest, say: Say = _unheard, named: Say = _unheard) -> Launched:
        """Rent, ship and start; returns once the run's process was started.

        Args:
            request: what shall run, and where.
            say: told of each step.
            named: told the run's id before anything is rented.

        Raises:
            UpsError: the first failed check, or what the provider refused; nothing stays rented.
        """
        return self._launcher(request.rent.provider).launch(_job(request), say, named)

    def abandon_launch(self, run: str) -> None:
        """Ask whoever launches a run to stop and to destroy what was rented for it; waits for nothing."""
        for entry in self.ledger.of_run(run):
            if entry.living and entry.state is not InstanceState.RUNNING:
                self.ledger.ask_to_end(entry.label, "the launch was left")

    def _follower(self, run: str) -> "Follower":
        from console.runs.follow import Follower
        from console.runs.registry import instance_of

        entry = instance_of(self.ledger, run)
        if entry is None:
            raise NotFoundError(f"the ledger has no instance of run {run}")
        return Follower(self.ledger, self.provider(entry.provider), self.teardown_of(entry), self.home.locks)

    def follow(self, run: str, *, log: bool = True) -> Iterator[FollowBatch]:
        """Mirror a run and yield what is new until it ended and, unless kept, is torn down.

        The first batches hold what the mirror has already. Several followers may run at once. Without
        `log` no bytes of it are handed out, only that there are more; what there was already then comes as
        `items`.
        """
        handle = self.registry.find(run)
        status = RunStatus.PENDING
        while True:
            for batch in self._follower(handle.run).follow(handle, log=log):
                status = batch.status
                yield batch
            if not self._goes_on_elsewhere(handle, status):
                return

    def _goes_on_elsewhere(self, handle: "RunHandle", status: RunStatus) -> bool:
        """Let a run go on from its last checkpoint where its machine, or its process there, was lost.

        A process on this machine is not started again: whoever ended it is here.

        Raises:
            UpsError: nothing can be rented for it now, or its budget is spent.
        """
        from console.fleet.watch import RUN_IS_OVER, STILL_BILLED
        from console.runs.launch import rent_options
        from console.runs.registry import instance_of

        entry, attempts = instance_of(self.ledger, handle.run), len(handle.attempts())
        if status is not RunStatus.LOST or entry is None or entry.kept(self.ledger.now()):
            return False
        if entry.ending not in (None, f"run {RunStatus.LOST}", STILL_BILLED, RUN_IS_OVER):
            return False  # somebody, or a cap, wanted it to end
        options = rent_options(handle, entry)
        here = not self._launcher(entry.provider).site.provider.capabilities.rented
        if (here and options.instances == 1) or attempts > options.retries:
            return False
        with contextlib.suppress(UsageError):  # another follower was quicker
            self.resume(handle.run)
        return True

    def read(self, run: str, *, log: bool = True) -> Iterator[FollowBatch]:
        """What the mirror of a run holds, without following it."""
        from console.runs.follow import Cursor

        handle = self.registry.find(run)
        cursor, status = Cursor(self.ledger, handle, log=log), self.status(handle)
        try:
            while True:
                batch = cursor.read(status)
                if not (batch.count or batch.log_grew or batch.transitions):
                    return
                yield batch
        finally:
            cursor.close()

    def replay(self, run: str | Path, *, speed: float) -> "Replay":
        """A run as if it were live once more, from its events alone; nothing is written.

        Args:
            run: its id; as a path a run directory or an events file that lies anywhere.
            speed: seconds of the run in a second; infinite is as fast as can be.

        Raises:
            NotFoundError: there is none.
            DataError: it holds no events.
        """
        from console.runs.opened import find_attempts, name_of
        from console.runs.replay import Replay, ReplayClock

        path = run if isinstance(run, Path) else self.registry.find(run).root
        return Replay(name_of(path.absolute()), find_attempts(path), ReplayClock(speed))

    def status(self, handle: "RunHandle") -> RunStatus:
        """How a run stands, from its mirror, the ledger and, where one can look, its process."""
        from console.fleet.locks import is_locked
        from console.runs.launch import launch_lock
        from console.runs.registry import instance_of, status_of

        entry = instance_of(self.ledger, handle.run)
        if entry is None:
            launching = is_locked(launch_lock(self.home.locks, handle.run))
            return status_of(handle.latest, None, process_alive=None, now=time.time(), launching=launching)
        return self._follower(handle.run).catch_up(handle)

    def runs(self) -> list[RunRow]:
        """All runs, the newest first."""
        from console.runs import history

        return history.rows(self.registry, self.ledger, self.status)

    def run(self, run: str) -> RunRow:
        """One run. Raises NotFoundError where no run, or more than one, begins with that."""
        from console.runs import history

        return history.row(self.registry, self.registry.find(run), self.ledger, self.status)

    def run_directories(self, run: str) -> list[Path]:
        """The mirrored run directories, attempt by attempt."""
        return [directory.root for directory in self.registry.find(run).attempts()]

    def run_logs(self, run: str) -> list[Path]:
        """The files that hold what a run said, the oldest first; some may not be there yet."""
        from console.runs.cursor import LAUNCH_LOG

        directories = self.registry.find(run).attempts()
        return [
            path for directory in directories for path in (directory.root / LAUNCH_LOG, directory.log_path)
        ]

    def report(self, run: str) -> dict[str, Any]:
        """The evaluation of a run, and what its gates say. Raises NotFoundError where it has none yet."""
        from console.runs import decisions

        handle = self.registry.find(run)
        report = decisions.read_report(handle.latest)
        return {**report, "gates": decisions.gates_of(handle, report)}

    def write_report(self, run: str, *, html: Path | None = None, png: Path | None = None) -> list[Path]:
        """Write the report of a run as a page or as a picture, whatever is known of it by now.

        Args:
            run: its id, or the beginning of it.
            html: where the page goes; None with no `png` either: into the run's newest directory.
            png: where the picture of curves and rollouts goes.

        Returns:
            What was written.

        Raises:
            ConfigError: the picture needs Pillow, which is not installed.
            NotFoundError: there is no such run, or no such folder.
            UsageError: a file cannot be written there.
        """
        from console.reports import content, writing

        handle = self.registry.find(run)
        if html is None and png is None:
            html = handle.latest.root / writing.PAGE_NAME
        found = content.gather(self.registry, handle, self.ledger, self.status(handle))
        return writing.write(found, html=html, png=png)

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

    def resume(self, run: str, say: Say = _unheard, *, new_wheel: bool = False) -> Launched:
        """Go on with a run from its last checkpoint, wherever that is: on its box, here, in the store.

        Args:
            run: the run.
            say: told of each step.
            new_wheel: on a rented machine: with the code that is installed here now, not the run's own.

        Raises:
            NotFoundError: the run's own code is lost.
            UsageError: it is running, or it succeeded.
        """
        from console.runs.registry import instance_of

        handle = self._resumable(run)
        entry = instance_of(self.ledger, handle.run)
        if entry is not None and entry.living and not entry.keep:
            for _ in self.teardown_of(entry).steps(entry, "resumed elsewhere"):
                pass
            entry = self.ledger.entry(entry.label)
        self._recall(handle)
        if self.status(handle) is RunStatus.SUCCEEDED:
            raise UsageError(f"run {handle.run} has succeeded while nobody looked; its results are here now",
                             hint=f"`ups-console report {handle.run}` shows them")  # fmt: skip
        return self._launcher(entry.provider if entry else "local").resume(
            handle, entry, say, new_wheel=new_wheel
        )

    def resumption(self, run: str) -> dict[str, Any]:
        """What `resume` would do: `run`, the `attempt` that it would be, and the `provider`; changes nothing.

        Raises:
            UsageError: it is running, or it succeeded.
        """
        from console.runs.registry import instance_of

        handle = self._resumable(run)
        entry = instance_of(self.ledger, handle.run)
        in_place = entry is not None and entry.keep and entry.state is InstanceState.RUNNING
        attempt = len(handle.attempts()) + (not in_place)
        return {"run": handle.run, "attempt": attempt, "provider": entry.provider if entry else "local"}

    def _resumable(self, run: str) -> "RunHandle":
        handle = self.registry.find(run)
        status = self.status(handle)
        if not status.ended or status is RunStatus.SUCCEEDED:
            raise UsageError(f"run {handle.run} {'is' if not status.ended else 'has'} {status}",
                             hint="only a failed, stopped or lost run can be resumed")  # fmt: skip
        return handle

    def wandb_sync(self, run: str, progress: Progress | None = None) -> dict[str, Any]:
        """Send what the mirror of a run holds to Weights & Biases; what is there already stays as it is.

        Returns:
            `run`, `url`, the `rows` and `pictures` sent, and `missing`: in words, what was not here.

        Raises:
            ConfigError: wandb is not installed, or W&B refuses or does not answer.
            LoginError: there is no key.
            NotFoundError: nothing of the run is here.
        """
        from console.runs import reporting

        handle = self.registry.find(run)
        reporting.require_key(self.settings)
        attempts = handle.attempts()
        sent: dict[str, Any] = {"run": handle.run, "url": None, "rows": 0, "pictures": 0, "missing": []}
        for number, local in enumerate(attempts, start=1):
            record = None
            if local.events_path.exists():
                record, _ = self.remote(
                    ["track", str(local.root), "--send"], None, environment=self.settings.wandb_environment
                )
                sent["url"] = record["url"]
                sent["rows"] += record["rows"]
                sent["pictures"] += record["pictures"]
            sent["missing"] += reporting.gaps(local, record)
            if progress is not None:
                progress("attempts", number, len(attempts))
        if sent["url"] is None:
            raise NotFoundError(f"no events of run {handle.run} are here yet, so nothing can be sent")
        return sent

    def provider_log(self, name: str, *, tail: int = 200) -> Sequence[str]:
        """What the provider itself logged of a run's box, or of an instance.

        Raises:
            NotFoundError: there is none.
        """
        entry = self._instance(name)
        assert entry.provider_id is not None
        return self.provider(entry.provider).logs(entry.provider_id, tail=tail)

    def ssh_command(self, name: str, *, ports: Sequence[int] = (), command: Sequence[str] = ()) -> list[str]:
        """The command that opens the user's own ssh client on the box of a run, or on an instance.

        Args:
            name: run or instance.
            ports: of the box, brought to the same ports here.
            command: run there instead of a shell.

        Raises:
            NotFoundError: there is no such instance, or it is gone.
            ProviderError: it has no address.
            UsageError: it is this machine.
        """
        from console.runs.ssh_client import ssh_argv

        entry = self._instance(name)
        provider = self.provider(entry.provider)
        if not provider.capabilities.rented:
            raise UsageError(f"{entry.provider_id} is this machine", hint="its files are below the home")
        remote = provider.get(str(entry.provider_id))
        if remote is None or remote.ssh is None:
            raise ProviderError(f"{entry.provider_id} has no address to connect to",
                                hint=f"`ups-console logs {name} --provider-log` shows why")  # fmt: skip
        return ssh_argv(
            remote.ssh,
            key=self.doors.key.private,
            known_hosts=self.doors.known_hosts(entry.label),
            ports=ports,
            command=command,
        )

    def _instance(self, name: str) -> "Entry":
        """The living instance of a run, or of that id or label."""
        from console.runs.registry import instance_of

        try:
            entry: Entry | None = self.ledger.find(name)
        except NotFoundError:
            entry = instance_of(self.ledger, self.registry.find(name).run)
        if entry is None or not entry.living or entry.provider_id is None:
            raise NotFoundError(f"{name} has no living instance", hint="`ups-console fleet` lists them")
        return entry

    def _recall(self, handle: "RunHandle") -> None:
        """Fetch what the box has published since it was last mirrored."""
        from console.runs.artifacts import recall

        local = handle.latest
        recall(self.store(), local, f"runs/{handle.run}/{local.root.name}")

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
        arguments = self.evaluate_command(
            target, config=config, splits=splits, data=data, task=task, predictions=predictions, ttc=ttc
        )
        record, _ = self.remote(arguments, progress)
        return dict(record["report"])

    def evaluate_command(
        self,
        target: str,
        *,
        config: Path | None = None,
        splits: Sequence[str] = (),
        data: Path | None = None,
        task: str | None = None,
        predictions: Path | None = None,
        ttc: bool = False,
    ) -> list[str]:
        """The arguments of `python -m remote` by which `evaluate` judges; nothing is run.

        Raises:
            ConfigError: there is no such evaluation config, or it is wrong.
            NotFoundError: there is no such run.
        """
        from console.runs import configs
        from ups.config import load_eval_config

        path = Path(target)
        if config is not None:
            config = configs.find(config)
            load_eval_config(config)
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
        return arguments

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
