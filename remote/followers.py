"""The processes beside the main one, where torchrun has started several: they take part in training only.

The main process executes the run. The others wait, without looking again and again, for its word in
the store of the launcher: the files to train on, or that there is nothing to train. They leave when
training is over. However it ends, the main process tells it; the launcher ends them all where one dies.
"""

import json
import signal
import traceback
from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remote import environment
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


class Followers:
    """The main process's word to the others; left without one, they are sent away."""

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self._waiting = ranks.world_size > 1

    def call(self, datasets: Mapping[str, Mapping[str, Path]], outlines: Mapping[str, Outline]) -> None:
        """Let them train on these files, some of which may only be known in outline yet."""
        files = {task: {split: str(file) for split, file in of.items()} for task, of in datasets.items()}
        self._say({"files": files, "outlines": {task: asdict(outline) for task, outline in outlines.items()}})

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
    word = _awaited_word(ranks)
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


def _awaited_word(ranks: Ranks) -> tuple[dict[str, dict[str, Path]], dict[str, Outline]] | None:
    """The files to train on and what is known of them beforehand; None where there is nothing to train.

    Raises:
        TrainingError: the main process said nothing for too long.
    """
    store = _store(ranks)
    store.set_timeout(PATIENCE)
    try:
        word = json.loads(store.get(_WORD))
    except RuntimeError as error:
        raise TrainingError(
            f"process {ranks.rank} heard nothing from the main one: {error}",
            hint=f"it waits {PATIENCE} for the data; run.log says what the main one did",
        ) from None
    if word is None:
        return None
    files = {task: {split: Path(file) for split, file in of.items()} for task, of in word["files"].items()}
    return files, {task: Outline.from_json(content) for task, content in word["outlines"].items()}


def _store(ranks: Ranks) -> "Store":
    from torch.distributed.distributed_c10d import PrefixStore

    from ups.training.distributed import launcher_store

    return PrefixStore("pipeline", launcher_store(ranks))
