"""The processes beside the main one, where torchrun has started several: they take part in training only.

The main process executes the run. The others wait, without looking again and again, for its word in
the store of the launcher: the files to train on, or that there is nothing to train. They leave when
training is over. However it ends, the main process tells it; the launcher ends them all where one dies.

On other machines than the main process's, the first process of each brings the same data there by itself,
and says so; the main one begins when all have.
"""

import json
import signal
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remote import environment
from remote.failures import explain
from remote.journal import say
from ups.data.outline import Outline
from ups.errors import TrainingError, UpsError
from ups.ranks import LostProcessError, Ranks
from ups.rundir import RunDirectory

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

PATIENCE = timedelta(days=1)
"""How long the others wait until the main process has its data; a dead one ends them sooner."""
RESTART_EXIT_CODE = 75
"""Of a process that has lost another one, and wants to be started anew with it."""
_WORD = "word"
_READY = "ready"
"""Of each other machine: where its data are, or why they are not there."""
_LOOK_S = 0.1


class Followers:
    """The main process's word to the others; left without one, they are sent away."""

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self._waiting = ranks.world_size > 1

    def call(
        self,
        datasets: Mapping[str, Mapping[str, Path]],
        outlines: Mapping[str, Outline],
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Let them train on these files, some of which may only be known in outline yet.

        Args:
            datasets: task → split → file, or folder of a latent cache.
            outlines: of the tasks whose files may come later.
            check: raises where somebody asked to stop; asked while other machines bring their data.

        Raises:
            TrainingError: another machine cannot have the data; says why.
        """
        files = {task: {split: str(file) for split, file in of.items()} for task, of in datasets.items()}
        self._say({"files": files, "outlines": {task: asdict(outline) for task, outline in outlines.items()}})
        for machine in range(1, self._ranks.machines):
            self._await(machine, check)

    def _await(self, machine: int, check: Callable[[], None]) -> None:
        store, key = _store(self._ranks), f"{_READY}/{machine}"
        until = time.monotonic() + PATIENCE.total_seconds()
        while not store.check([key]):
            check()
            if time.monotonic() > until:
                raise TrainingError(f"machine {machine} of the training does not say that it has its data")
            time.sleep(_LOOK_S)
        answer = json.loads(store.get(key))
        if "failure" in answer:
            raise TrainingError(f"machine {machine} failed: {answer['failure']}", hint=answer["hint"])

    def dismiss(self) -> None:
        """Let those that still wait leave: there is nothing to train."""
        self._say(None)

    def _say(self, word: dict[str, Any] | None) -> None:
        if self._waiting:
            self._waiting = False
            _store(self._ranks).set(_WORD, json.dumps(word))

    def __enter__(self) -> "Followers":
        return self

    def __exit__(self, *_: object) -> None:
        self.dismiss()


def follow(directory: RunDirectory, ranks: Ranks) -> int:
    """Take part in a run's training as one of the others; returns the exit code.

    A failure of its own is told to the main process, which ends the run with it: to the launcher this
    process has then done its part.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the main process decides
    elsewhere = ranks.machine > 0
    if elsewhere and ranks.leads_machine:
        environment.record_process(directory.root, ranks)
        _lead(directory, ranks)
    word = _awaited_word(ranks, f"{_READY}/{ranks.machine}" if elsewhere else _WORD)
    if word is None:
        return 0
    datasets, outlines = word
    # until its next checkpoint is written, the main process needs the others
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    from ups.training.job import SILENCE, TrainingJob
    from ups.training.run import train

    spec = directory.read_spec()
    environment.use_threads(spec.threads)
    device = ranks.device(environment.device())
    job = TrainingJob(spec, directory, datasets, device, ranks=ranks, outlines=outlines)
    try:
        train(job, SILENCE)
    except LostProcessError as error:
        say(f"process {ranks.rank}: {error.message}")
        return RESTART_EXIT_CODE
    except UpsError as error:
        say(f"process {ranks.rank}: {error.message}")
    except Exception:  # noqa: BLE001 - the process boundary
        say(f"process {ranks.rank}: {traceback.format_exc()}")
    return 0


def _lead(directory: RunDirectory, ranks: Ranks) -> None:
    """Bring to this machine what the main process trains on, and say where it is or why it does not come."""
    from remote.own_data import OwnData

    answer: dict[str, Any] | None
    try:
        data = OwnData(directory)
        data.begin()
        word = _awaited_word(ranks)
        answer = None if word is None else {"files": data.like(word[0]), "outlines": {}}
    except Exception as error:  # noqa: BLE001 - the main process ends the run with it
        failure = explain(error, where=str(directory.root))
        say(f"machine {ranks.machine}: {failure.message}")
        answer = {"failure": failure.message, "hint": failure.hint}
    _store(ranks).set(f"{_READY}/{ranks.machine}", json.dumps(answer))


def _awaited_word(
    ranks: Ranks, key: str = _WORD
) -> tuple[dict[str, dict[str, Path]], dict[str, Outline]] | None:
    """The files to train on and what is known of them beforehand; None where there is nothing to train.

    Raises:
        TrainingError: the main process said nothing for too long.
    """
    store = _store(ranks)
    store.set_timeout(PATIENCE)
    try:
        word = json.loads(store.get(key))
    except RuntimeError as error:
        raise TrainingError(
            f"process {ranks.rank} heard nothing from the main one: {error}",
            hint=f"it waits {PATIENCE} for the data; run.log says what the main one did",
        ) from None
    if word is None or "failure" in word:
        return None
    files = {task: {split: Path(file) for split, file in of.items()} for task, of in word["files"].items()}
    return files, {task: Outline.from_json(content) for task, content in word["outlines"].items()}


def _store(ranks: Ranks) -> "Store":
    from torch.distributed.distributed_c10d import PrefixStore

    from ups.training.distributed import launcher_store

    return PrefixStore("pipeline", launcher_store(ranks))
