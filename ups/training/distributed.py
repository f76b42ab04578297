"""How the processes of a training talk to one another, and how they end together.

All do the same in the same order. What only one may do (look at files, write them, judge) the main
one does, and tells the others. A process that fails says why in the store of the launcher before it
leaves; the others, whose next exchange breaks, find it there: the run ends with one clear error. A
process that leaves without a word was killed: `LostProcessError`.
"""

import contextlib
import json
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from ups.errors import TrainingError, UpsError, UsageError
from ups.models.draws import Rows
from ups.ranks import LostProcessError, Ranks
from ups.training.carrying import carry

PATIENCE = timedelta(hours=1)
"""How long a process waits for the others; the main one validates and uploads meanwhile."""
_MEETING = timedelta(minutes=5)
"""How long processes that were started together take at most to find one another."""
_LONGEST_TRAINING = timedelta(days=365)
_FAILURE = "failure"
_START = "starts"
_LOOK_S = 0.05
_LOST_CONNECTION = "Connection (closed|reset|refused)|Broken pipe|[Tt]imed out|gloo|NCCL"

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Share:
    """What a process computes of a batch."""

    rows: Rows | None
    """Its samples; None where it computes all of them."""
    weight: float
    """Of its mean loss in that of the batch."""


class Group:
    """The processes of a training; of a single one, which has nobody to talk to."""

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks

    @property
    def is_main(self) -> bool:
        return self.ranks.is_main

    def share_of(self, samples: int) -> Share:
        """Which samples of a batch are this process's.

        A process for which none is left computes one that is not its own, with weight 0, so that it takes
        part in every exchange.
        """
        return Share(None, 1.0)

    def sum(self, values: Tensor) -> Tensor:
        """The sum of all processes' values, in place."""
        return values

    def any(self, flag: bool) -> bool:
        """Whether it holds in any process."""
        return flag

    def from_main(self, compute: Callable[[], Value]) -> Value:
        """What the main process computes: it alone does. The value is pickled and should be small."""
        return compute()

    def main_first(self, make: Callable[[], Value], find: Callable[[], Value]) -> Value:
        """What the main process makes and the others then find; all go on together."""
        return make()


class _Gang(Group):
    """Several processes, over `torch.distributed`."""

    def __init__(self, ranks: Ranks, store: Store, carried: Path | None) -> None:
        super().__init__(ranks)
        self._store = store
        self._carried = carried

    def share_of(self, samples: int) -> Share:
        rank, processes = self.ranks.rank, self.ranks.world_size
        first, end = (samples * number // processes for number in (rank, rank + 1))
        if first == end:
            return Share(Rows(0, 1, samples), 0.0)
        return Share(Rows(first, end, samples), (end - first) / samples)

    def sum(self, values: Tensor) -> Tensor:
        dist.all_reduce(values)
        return values

    def any(self, flag: bool) -> bool:
        return bool(self.sum(torch.tensor(float(flag))))

    def from_main(self, compute: Callable[[], Value]) -> Value:
        if not self.is_main:
            value, failure = self._broadcast((None, None))
            if failure is not None:
                raise TrainingError(failure)
            answer: Value = value
            return answer
        try:
            value = compute()
        except Exception as error:
            self._tell(error)  # before the others can, for whom this is the consequence
            self._broadcast((None, _message(error)))
            raise
        self._broadcast((value, None))
        return value

    def main_first(self, make: Callable[[], Value], find: Callable[[], Value]) -> Value:
        made: list[Value] = []
        self.from_main(lambda: made.append(make()))
        if self._carried is not None and self.ranks.machines > 1:
            carry(self._carried, self.ranks)
        if not self.is_main:
            made.append(find())
        self.any(False)  # nobody changes what is made before all have found it
        return made[0]

    def explained(self, error: Exception) -> Exception:
        """The error to end with: this one, or the one of another process whose consequence it is."""
        first = self._told() if _is_lost_connection(error) else self._tell(error)
        if first is None:
            late = "[Tt]imed out"
            what = f"did not answer within {PATIENCE}" if re.search(late, str(error)) else "was killed"
            return LostProcessError(
                f"a process of the training {what}",
                hint="resume the run; where memory ran out, the log of the machine's kernel says so",
            )
        if first["rank"] == self.ranks.rank or first["message"] == _message(error):
            return error
        return TrainingError(f"process {first['rank']} failed: {first['message']}", hint=first["hint"])

    def _broadcast(self, content: Any) -> Any:
        box = [content]
        dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]

    def _tell(self, error: Exception) -> dict[str, Any]:
        """Say why this process fails unless another one has; returns what the first one said."""
        record = {
            "rank": self.ranks.rank, "message": _message(error), "hint": getattr(error, "hint", ""),
        }  # fmt: skip
        first: dict[str, Any] = json.loads(self._store.compare_set(_FAILURE, "", json.dumps(record)))
        return first

    def _told(self) -> dict[str, Any] | None:
        if not self._store.check([_FAILURE]):
            return None
        first: dict[str, Any] = json.loads(self._store.get(_FAILURE))
        return first


class _Alarm:
    """Frees processes from an exchange that one which has failed will never take part in.

    Gloo notices that by itself when that process ends; NCCL waits until its exchanges are aborted.
    """

    def __init__(self, ranks: Ranks, store: Store) -> None:
        self._store = store
        self._keys = [f"over/{rank}" for rank in range(ranks.world_size)]
        self._own = self._keys[ranks.rank]
        self._thread = threading.Thread(target=self._listen, name="alarm", daemon=True)

    def set(self) -> None:
        self._thread.start()

    def ring(self) -> None:
        """Free all."""
        for key in self._keys:
            self._store.compare_set(key, "", "failed")

    def unset(self) -> None:
        if self._thread.is_alive():
            self._store.compare_set(self._own, "", "done")
            self._thread.join()

    def _listen(self) -> None:
        store: Any = self._store  # its stubs do not know `clone`
        connection: Store = store.clone()  # one that waits can do nothing else
        connection.set_timeout(_LONGEST_TRAINING)
        with contextlib.suppress(RuntimeError):  # the launcher has ended, and with it this process will
            told, group = connection.get(self._own), dist.group.WORLD
            if told == b"failed" and group is not None:
                group.abort()


@contextlib.contextmanager
def joined(ranks: Ranks, device: str, carried: Path | None = None) -> Iterator[Group]:
    """The processes of a training, joined until it ends; an error ends it in all of them.

    Args:
        ranks: which process this one is.
        device: what it computes on.
        carried: the checkpoints, which `main_first` brings to machines that share no files with the main one.

    Raises:
        UsageError: there are more processes than GPUs.
        TrainingError: another process failed; says which and why.
        LostProcessError: another process died without a word.
    """
    if ranks.world_size == 1:
        yield Group(ranks)
        return
    if device.startswith("cuda"):
        _take_gpu(ranks, device)
    store = PrefixStore("training", launcher_store(ranks))
    gang, alarm = _Gang(ranks, store, carried), _Alarm(ranks, store)
    try:
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo",
            store=PrefixStore("group", store), rank=ranks.rank, world_size=ranks.world_size,
            timeout=PATIENCE,
        )  # fmt: skip
        alarm.set()
        yield gang
    except Exception as error:
        cause = gang.explained(error)
        alarm.ring()
        if cause is error:
            raise
        raise cause from error
    finally:
        alarm.unset()
        if dist.is_initialized():
            dist.destroy_process_group()


def _take_gpu(ranks: Ranks, device: str) -> None:
    present = torch.cuda.device_count()
    if ranks.local_world_size > present:
        raise UsageError(
            f"{ranks.local_world_size} processes were started on a machine of {present} GPUs",
            hint=f"start torchrun with --nproc-per-node {present}",
        )
    torch.cuda.set_device(device)


def launcher_store(ranks: Ranks) -> Store:
    """A new connection to the store through which torchrun's processes find one another.

    The launcher keeps it when it starts the processes anew: what the dead ones have left there is not seen.
    """
    return PrefixStore(f"start/{ranks.start or ranks.restarts}", _connection())


def agreed(ranks: Ranks) -> Ranks:
    """The same process, with a name of this start that all processes know which were started with it.

    On one machine torchrun's count of restarts is one. The launchers of several machines count for
    themselves: one whose processes live, and are started anew because those of another have died, does
    not count that. So the main process makes a name up, which holds once all others have answered to it;
    what an earlier start has left in the store has their earlier answers, and is passed over.

    Raises:
        TrainingError: the others do not answer.
    """
    if ranks.machines == 1:
        return ranks
    store, token = _connection(), secrets.token_hex(8)
    until = time.monotonic() + _MEETING.total_seconds()
    name = _name_start(store, ranks, until) if ranks.is_main else _answer(store, ranks, token, until)
    return replace(ranks, start=name)


def _name_start(store: Store, ranks: Ranks, until: float) -> str:
    name = secrets.token_hex(8)
    store.set(_START, name)
    answers = [f"{_START}/{name}/{rank}" for rank in range(1, ranks.world_size)]
    while not store.check(answers):
        _rest(until)
    store.set(f"{_START}/{name}", json.dumps([store.get(key).decode() for key in answers]))
    return name


def _answer(store: Store, ranks: Ranks, token: str, until: float) -> str:
    while True:
        if store.check([_START]):
            name = store.get(_START).decode()
            settled = f"{_START}/{name}"
            if not store.check([settled]):
                store.set(f"{settled}/{ranks.rank}", token)
            elif token in json.loads(store.get(settled)):
                return name
        _rest(until)


def _rest(until: float) -> None:
    if time.monotonic() > until:
        raise TrainingError(
            "not all processes of the training have started", hint="run.log of each machine says why"
        )
    time.sleep(_LOOK_S)


def _connection() -> Store:
    store: Store = next(rendezvous("env://", timeout=PATIENCE))[0]
    return store


def _message(error: Exception) -> str:
    return error.message if isinstance(error, UpsError) else f"{type(error).__name__}: {error}"


def _is_lost_connection(error: Exception) -> bool:
    # backends also raise plain RuntimeErrors
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and re.search(_LOST_CONNECTION, str(error)) is not None
    )
