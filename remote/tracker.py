"""The process that reports a run to Weights & Biases: `python -m remote track RUN_DIR`.

It reads `events.jsonl` behind the run, writes nothing that the run reads, and may be killed at any time: told
again from its first event on, a run has the same id there and the same steps, of which W&B keeps one.

The run that started it hears one JSON object a line on stdout, and says on stdin how it ended.
"""

import contextlib
import fcntl
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remote.publish import files_below
from remote.wandb_rows import Row, Rows, axes, summary
from ups.course import course
from ups.errors import ConfigError, UpsError
from ups.events import Event, EventReader, EventType
from ups.rundir import RunDirectory, RunSpec
from ups.wandb_terms import KEY_VARIABLE, Mode, Terms, terms_of

if TYPE_CHECKING:
    from wandb import Run

FOLDER = "wandb"
"""In the run directory: what wandb writes."""
FINISH_S = 30.0
"""So long W&B may take for the rest when the run is over; a rented box costs meanwhile."""
INIT_S = 15.0
"""So long it may take until it lets a run begin."""
_TAIL_S = 1.0
_NICE = 10
_MOST_TOLD = 300

Tell = Callable[[Mapping[str, Any]], None]


def run_id(spec: RunSpec) -> str:
    """The run's id at W&B: the same for all its attempts, another for another config of that name."""
    return f"{spec.run}-{spec.config_sha256[:6]}".rstrip("-")


class Tracker:
    """One attempt's events on their way to W&B."""

    def __init__(self, directory: RunDirectory, spec: RunSpec, terms: Terms) -> None:
        self._directory = directory
        self._spec = spec
        self._terms = terms
        self._reader = EventReader(directory.events_path)
        self._rows = Rows(spec.attempt, lambda: _finished_stages(directory))
        self._best: Event | None = None
        self._sent_checkpoint: str | None = None
        self.rows = 0
        self.pictures = 0
        self.missing: list[str] = []
        """Files that events name and that are not here."""
        self.ended: Mapping[str, Any] | None = None
        """What the `done` event says."""

    def open(self, mode: Mode) -> "Run":
        """Begin, or go on with, the run at W&B.

        Raises:
            Exception: W&B refuses, or does not answer; wandb documents no single base.
        """
        import wandb

        wanted = self._spec.config.logging.wandb
        resume: Any = {"resume": "allow"} if mode is Mode.ONLINE else {}
        run = wandb.init(
            project=self._terms.project,
            entity=self._terms.entity,
            id=run_id(self._spec),
            name=wanted.name or f"{self._spec.name} {self._spec.run}",
            group=wanted.group,
            tags=list(wanted.tags) or None,
            config=_config(self._spec),
            dir=str(self._directory.root),
            mode="online" if mode is Mode.ONLINE else "offline",
            settings=_settings(),
            allow_val_change=True,
            **resume,
        )
        for names, axis in axes(tuple(course(self._spec.stages))).items():
            run.define_metric(names, step_metric=axis)
        self._run = run
        return run

    def drain(self) -> bool:
        """Log the events that are new; returns whether there were any."""
        events = self._reader.read()
        for event in events:
            self._notice(event)
            row = self._rows.of(event)
            if row is not None:
                self._log(row)
        return bool(events)

    def close(self, exit_code: int, of_run: Mapping[str, Any]) -> None:
        """Say how the run ended, and wait until W&B has everything."""
        self._send_checkpoint()
        for name, value in summary(of_run).items():
            self._run.summary[name] = value
        self._run.finish(exit_code=exit_code)

    def _notice(self, event: Event) -> None:
        fields = event.fields
        if event.type == EventType.CHECKPOINT and fields.get("best"):
            self._best = event
        elif event.type == EventType.PHASE and fields.get("phase") == "train":
            if fields.get("state") in ("finished", "skipped"):
                self._send_checkpoint()
        elif event.type == EventType.DONE:
            self.ended = fields

    def _log(self, row: Row) -> None:
        values: dict[str, Any] = {**row.values, "_timestamp": row.t}
        if row.picture is not None:
            name, path = row.picture
            picture = self._picture(path)
            if picture is not None:
                values[name] = picture
        self._run.log(values, step=row.step)
        self.rows += 1

    def _picture(self, path: str) -> Any:
        import wandb

        from remote.rollout_picture import draw

        try:
            pixels, caption = draw(self._directory.root / path)
            picture = wandb.Image(pixels, caption=caption)
        except FileNotFoundError:
            self.missing.append(path)
            return None
        except Exception as error:  # noqa: BLE001 - a picture less; without Pillow wandb raises its own errors
            self.missing.append(f"{path} ({_text(error)})")
            return None
        self.pictures += 1
        return picture

    def _send_checkpoint(self) -> None:
        """The best one, as an artifact, where the config asks for it."""
        import wandb

        if self._best is None or not self._spec.config.logging.wandb.checkpoints:
            return
        path = str(self._best.fields.get("path"))
        if path == self._sent_checkpoint:
            return
        folder, about = self._directory.root / path, self._best.fields
        if not folder.is_dir():
            self.missing.append(path)
            return
        artifact = wandb.Artifact(
            f"checkpoint-{run_id(self._spec)}",
            type="model",
            metadata={"path": path, **{name: about.get(name) for name in ("stage", "epoch", "sha256")}},
        )
        for file in files_below(folder):
            # it does not change any more, and no second copy of it is made
            name = file.relative_to(folder).as_posix()
            artifact.add_file(str(file), name=name, policy="immutable", skip_cache=True)
        self._run.log_artifact(artifact, aliases=["best", f"attempt-{self._spec.attempt}"])
        self._sent_checkpoint = path


def follow(directory: RunDirectory) -> int:
    """Report a run as it goes on, until it says how it ended; returns the exit code."""
    tell = _own_channel()
    with contextlib.suppress(OSError):
        os.nice(_NICE)  # training comes first
    end = _End()
    spec = directory.read_spec()
    terms = terms_of(spec.config.logging.wandb, os.environ)
    if terms.mode is Mode.DISABLED:
        return 0
    _prepare_environment(directory.root)
    try:
        import wandb  # noqa: F401 - its absence is told before anything else is
    except ImportError as error:
        tell({"final": f"W&B cannot be used here: {error}", "hint": "pip install wandb"})
        return 0
    with _only_tracker(directory.root):
        tracker = Tracker(directory, spec, terms)
        tell({"said": f"W&B: {_opened(tracker, terms, tell)}"})
        while True:
            over = end.come.is_set()
            if not tracker.drain():
                if over:
                    break
                end.come.wait(_TAIL_S)
        tracker.close(int(end.word.get("exit_code", 1)), end.word.get("summary") or {})
        _end_service()
    for name in tracker.missing:
        tell({"said": f"W&B lacks {name}"})
    tell({"closed": True})
    return 0


def _opened(tracker: Tracker, terms: Terms, tell: Tell) -> str:
    """Begin online where that is meant and possible, else offline; says which."""
    if terms.mode is Mode.ONLINE:
        try:
            return f"online at {tracker.open(Mode.ONLINE).url}"
        except Exception as error:  # noqa: BLE001 - whatever it is, the run goes on offline
            tell({"warning": f"W&B is not reached: {_text(error)}; the metrics are kept offline"})
            _end_service()
    tracker.open(Mode.OFFLINE)
    return f"offline{': ' if terms.reason else ''}{terms.reason}"


def _end_service() -> None:
    """Have wandb's own process write what it holds, and end."""
    import wandb

    with contextlib.suppress(Exception):
        wandb.teardown()


def send(directory: RunDirectory) -> dict[str, Any]:
    """Report the events that a run directory holds, online; what W&B has already is left out there.

    Returns:
        What was sent: `url`, `rows`, `pictures`, and `missing`, the files that are not here.

    Raises:
        ConfigError: there is no key, wandb is not installed, or W&B refuses or does not answer.
    """
    spec = directory.read_spec()
    enabled = spec.config.logging.wandb.model_copy(update={"enabled": True})
    environment = {**os.environ, "WANDB_MODE": "online"}
    terms = terms_of(enabled, environment)
    if terms.mode is not Mode.ONLINE:
        raise ConfigError(f"nothing can be sent to W&B: {terms.reason}", hint=f"set {KEY_VARIABLE}")
    os.environ["WANDB_MODE"] = "online"
    _prepare_environment(directory.root)
    try:
        with _only_tracker(directory.root):
            tracker = Tracker(directory, spec, terms)
            url = tracker.open(Mode.ONLINE).url
            while tracker.drain():
                pass
            ended = tracker.ended or {}
            tracker.close(int(ended.get("exit_code", 1)), ended.get("summary") or {})
    except UpsError:
        raise
    except ImportError as error:
        raise ConfigError(f"W&B cannot be used here: {error}", hint="pip install wandb") from None
    except Exception as error:  # noqa: BLE001 - wandb documents no single base
        raise ConfigError(
            f"W&B did not take the run: {_text(error)}",
            hint="check WANDB_API_KEY, WANDB_ENTITY and the network",
        ) from None
    return {"url": url, "rows": tracker.rows, "pictures": tracker.pictures, "missing": tracker.missing}


class _End:
    """Listens to stdin for how the run ended; where that closes without a word, the run has died."""

    def __init__(self) -> None:
        self.come = threading.Event()
        self.word: Mapping[str, Any] = {}
        threading.Thread(target=self._listen, name="end", daemon=True).start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self.word = json.loads(sys.stdin.readline() or "{}")
        # Nobody waits longer, and perhaps nobody is there to end this process.
        signal.setitimer(signal.ITIMER_REAL, FINISH_S)
        self.come.set()


def _own_channel() -> Tell:
    """What the run hears; everything else that is printed goes where stderr goes."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def tell(word: Mapping[str, Any]) -> None:
        with contextlib.suppress(OSError):
            channel.write(json.dumps(word) + "\n")
            channel.flush()

    return tell


@contextlib.contextmanager
def _only_tracker(root: Path) -> Iterator[None]:
    """One process at a time reports a run directory; one whose run has died ends by itself soon.

    Raises:
        ConfigError: another one does.
    """
    until = time.monotonic() + FINISH_S + 5
    (root / FOLDER).mkdir(exist_ok=True)
    with (root / FOLDER / ".lock").open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise ConfigError(f"another process reports {root} to W&B") from None
                time.sleep(0.2)
        yield


def _prepare_environment(root: Path) -> None:
    """Nothing of wandb's lands outside the run directory, and it reports nothing about itself."""
    folder = root / FOLDER
    for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
        os.environ.setdefault(name, str(folder / f".{name.split('_')[1].lower()}"))
    os.environ["WANDB_ERROR_REPORTING"] = "false"
    os.environ["WANDB_SILENT"] = "true"


def _settings() -> Any:
    """No prompt, no look at the machine: the run's own events say what it is."""
    import wandb

    wanted = {
        "console": "off", "silent": True, "init_timeout": INIT_S,
        "disable_git": True, "disable_code": True, "save_code": False, "disable_job_creation": True,
        "x_disable_stats": True, "x_disable_meta": True, "x_disable_machine_info": True,
        "x_save_requirements": False,
    }  # fmt: skip
    if "WANDB_INIT_TIMEOUT" in os.environ:
        del wanted["init_timeout"]
    return wandb.Settings(
        **{name: value for name, value in wanted.items() if name in wandb.Settings.model_fields}
    )


def _config(spec: RunSpec) -> dict[str, Any]:
    """The resolved config, and what else decides what the run computes; no store, no path."""
    about = {
        "run": spec.run, "attempt": spec.attempt, "config": spec.name, "seed": spec.seed,
        "code_version": spec.code_version, "config_sha256": spec.config_sha256, "datasets": spec.datasets,
    }  # fmt: skip
    return {**spec.config.model_dump(mode="json"), "run": about}


def _finished_stages(directory: RunDirectory) -> dict[str, tuple[int, int]]:
    """Epochs and steps of the stages that have ended, as `stages.json` says."""
    try:
        content = json.loads(directory.stages_path.read_text(encoding="utf-8"))
        return {str(stage): (int(of["epochs"]), int(of["steps"])) for stage, of in content.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _text(error: BaseException) -> str:
    """One line, without the key."""
    text = " ".join(str(error).split()) or type(error).__name__
    if key := os.environ.get(KEY_VARIABLE, "").strip():
        text = text.replace(key, "•••")
    return text[:_MOST_TOLD]
