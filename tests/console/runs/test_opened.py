from pathlib import Path

from console.runs.opened import EVENTS_NAME, OpenedRun
from ups.events import EventType, encode


def lines(first: int, count: int) -> bytes:
    return b"".join(
        encode(seq, 0.01 * seq, EventType.METRIC, {
            "stage": "operator", "epoch": 0, "step": seq, "task": "advection1d", "split": "train",
            "values": {"loss": 1.0},
        })
        for seq in range(first, first + count)
    )  # fmt: skip


class Growing:
    """A run directory that grows by a line whenever a reader sleeps."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder, self.count, self.slept = folder, count, 0.0
        self.naps = 0
        (folder / EVENTS_NAME).write_bytes(lines(0, count))

    def sleep(self, seconds: float) -> None:
        with (self.folder / EVENTS_NAME).open("ab") as file:
            file.write(lines(self.count, 1))
        self.count += 1
        self.naps += 1
        self.slept += seconds


def test_a_run_that_grows_all_the_time_is_looked_at_a_few_times_a_second(tmp_path: Path) -> None:
    run = Growing(tmp_path, 10)
    looks = events = 0
    for batch in OpenedRun(tmp_path, sleep=run.sleep).batches(lambda: run.naps >= 20):
        looks += 1
        events += batch.count
    assert events >= run.count - 1
    assert 3 <= run.naps / run.slept <= 5
    assert looks <= run.naps + 1


def test_what_there_is_already_is_read_without_a_pause(tmp_path: Path) -> None:
    run = Growing(tmp_path, 5000)
    batches = OpenedRun(tmp_path, sleep=run.sleep).batches(lambda: False)
    events = looks = 0
    while events < 5000:
        events += next(batches).count
        looks += 1
    assert looks > 1
    assert next(batches).count == 0  # that is all, which the screen need not wait for
    assert run.naps == 0
