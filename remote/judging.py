"""`python -m remote evaluate`: a checkpoint against the store's data, a run's data or any file."""

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from remote import environment, evaluate
from remote.hydrate import Hydrator
from ups import catalog
from ups.config import EvalConfig, Evaluation, load_eval_config
from ups.data.split import open_split
from ups.errors import DataError, NotFoundError, StoreError, UsageError
from ups.rundir import RunDirectory
from ups.store import ObjectStore, file_sha256, open_store


class Progress(Protocol):
    """Told what is done, such as `Output.progress`."""

    def __call__(self, what: str, done: int, total: int, *, unit: str = "samples") -> None: ...


Files = Mapping[str, Mapping[str, Path]]
"""task → split → converted file."""


@dataclass(frozen=True, slots=True)
class Judging:
    """What is judged, on what, and what is written."""

    target: Path
    """A run directory, a directory of checkpoints, or a checkpoint."""
    store_url: str
    splits: tuple[str, ...] = ()
    """Empty: what the config says, else test."""
    data: Path | None = None
    """A raw or converted file whose samples are all evaluated instead."""
    task: str | None = None
    predictions: Path | None = None
    config: Path | None = None
    ttc: bool = False
    """Use test-time compute, whatever the config says."""


def judge(judging: Judging, progress: Progress) -> dict[str, Any]:
    """The report, as `evaluate --json` prints it; writes the predictions where asked.

    Raises:
        UsageError: predictions of more than one task or split were asked for.
        NotFoundError: there is no checkpoint, or the store lacks its data.
        DataError, StoreError, TrainingError, ConfigError: something cannot be used.
    """
    config = load_eval_config(judging.config) if judging.config else EvalConfig()
    spec = _spec_of(judging.target)
    settings = spec.config.evaluation if spec and not judging.config else config.evaluation
    splits = judging.splits or ((config.data.split,) if config.data and not judging.data else ("test",))
    device = environment.device()
    environment.use_threads(spec.threads if spec else None)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ups-evaluate-")))
        files = _files(judging, splits, scratch, progress)
        ttc = config.ttc.model_copy(update={"enabled": config.ttc.enabled or judging.ttc})
        report = evaluate.judge(judging.target, files, splits, settings, device, progress, ttc)
        if judging.predictions is not None:
            _write_predictions(judging, files, splits, settings, device, progress)
    return {"run": spec.run if spec else None, **report}


def _spec_of(target: Path) -> Any:
    directory = RunDirectory(target)
    return directory.read_spec() if directory.spec_path.exists() else None


def _files(judging: Judging, splits: tuple[str, ...], scratch: Path, progress: Progress) -> Files:
    if judging.data is not None:
        assert judging.task is not None
        return {judging.task: dict.fromkeys(splits[:1], _converted(judging.task, judging.data, scratch))}
    store = open_store(judging.store_url)
    directory = RunDirectory(judging.target)
    if directory.spec_path.exists():
        return _pinned(store, directory, splits, judging.task, progress)
    tasks = (judging.task,) if judging.task else evaluate.checkpoint_tasks(judging.target)
    return {task: {split: _stored(store, task, split, scratch) for split in splits} for task in tasks}


def _pinned(
    store: ObjectStore, directory: RunDirectory, splits: tuple[str, ...], task: str | None, progress: Progress
) -> Files:
    """The run's own data, each file with the sha256 that run.yaml pins."""
    spec = directory.read_spec()
    tasks = tuple(name for name in spec.tasks if task in (None, name))
    if not tasks:
        raise NotFoundError(f"the run was not trained on {task}", hint=f"it was on {', '.join(spec.tasks)}")
    pins = {name: {split: spec.datasets[name][split] for split in splits} for name in tasks}
    narrowed = spec.model_copy(update={"tasks": tasks, "datasets": pins})
    return Hydrator(narrowed, store, directory).hydrate(partial(progress, unit="bytes"))


def _stored(store: ObjectStore, task: str, split: str, scratch: Path) -> Path:
    sha256 = catalog.pins(store, [task])[task][split]
    stored = catalog.dataset(store, task).splits[split]
    local = store.local_path(stored.key)
    if local is None:
        local = scratch / f"{sha256}.h5"
        store.download(stored.key, local, sha256=sha256)
    elif file_sha256(local) != sha256:
        raise StoreError(f"{local} is damaged or being replaced", hint=f"`ups-console data verify {task}`")
    return local


def _converted(task: str, file: Path, scratch: Path) -> Path:
    """The file itself where it is a converted one, else a converted copy of it."""
    if not file.exists():
        raise NotFoundError(f"there is no file {file}")
    if not _is_converted(file):
        from ups.data.convert import convert_file

        target = scratch / f"{task}_test.h5"
        convert_file(task, file, target)
        return target
    held = open_split(file).spec.name
    if held != task:
        raise DataError(f"{file} holds {held}, not {task}", hint=f"--task {held}")
    return file


def _is_converted(file: Path) -> bool:
    import h5py

    try:
        with h5py.File(file, "r") as content:
            return "format" in content.attrs and "task" in content.attrs
    except OSError:
        return False  # no HDF5 file, or a folder: who converts it says what is wrong


def _write_predictions(
    judging: Judging,
    files: Files,
    splits: tuple[str, ...],
    settings: Evaluation,
    device: str,
    progress: Progress,
) -> None:
    from ups.evaluation import predictions
    from ups.models import checkpoint as checkpoints

    assert judging.predictions is not None
    if len(files) != 1 or len(splits) != 1:
        raise UsageError(
            f"predictions are of one task and one split, not of {', '.join(files)} on {', '.join(splits)}",
            hint="add --task TASK and one --split",
        )
    [(task, of_task)] = files.items()
    checkpoint = checkpoints.read(judging.target).path
    judging.predictions.absolute().parent.mkdir(parents=True, exist_ok=True)
    predictions.write(
        checkpoint, of_task[splits[0]], task, judging.predictions.absolute(),
        settings=settings, device=device, progress=progress,
    )  # fmt: skip
