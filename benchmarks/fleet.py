"""How long the fleet's passes take: a reconcile, a guard's pass and a refresh of what the screen shows.

The provider answers at once, from memory: what is measured is the console's own work. There is no peer
that does the same; ours stand beside the bounds that they have to keep.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.support.comparison import Row, arguments, finish
from benchmarks.support.memory_provider import MemoryProvider
from console.fleet.ledger import Ledger
from console.fleet.locks import FileLock
from console.fleet.model import InstanceState, Label
from console.fleet.reconcile import survey
from console.fleet.watch import INTERVAL_S, Watch
from console.rows import instance_row
from console.runs.registry import Registry

ROWS, INSTANCES = 500, 50
RECONCILE_S = 2.0
REFRESH_S = 1.0
CPU_SHARE = 0.15


class Fleet:
    """A home with a long history and many instances."""

    def __init__(self, root: Path, *, rows: int, instances: int) -> None:
        self.ledger = Ledger(root / "ledger.db")
        self.provider = MemoryProvider()
        self.locks = root / "locks"
        self.registry = Registry(root / "runs")
        for number in range(rows):
            label = Label.new(self.ledger.console_id, time.time() + 3600)
            self.ledger.intend(
                label, provider=self.provider.name, what="RTX 4090 ×1", usd_per_hour=0.3, cap_usd=0.0,
                keep=True, run=None, attempt=None,
            )  # fmt: skip
            lives = number < instances
            states = [InstanceState.REQUESTED, InstanceState.STARTING, InstanceState.REACHABLE,
                      InstanceState.RUNNING]  # fmt: skip
            if not lives:
                states += [InstanceState.STOPPING, InstanceState.DESTROYED]
            instance = self.provider.add(str(label)) if lives else f"gone-{number}"
            for state in states:
                self.ledger.move(str(label), state, "benchmark", provider_id=instance)

    def reconcile(self) -> None:
        """One pass over everything."""
        survey(self.ledger, [self.provider], self.locks)

    def refresh(self) -> None:
        """What the fleet screen asks for."""
        for sighting in survey(self.ledger, [self.provider], self.locks).sightings:
            instance_row(sighting, self.registry)

    def guard(self) -> None:
        """One pass of the guard, which finds nothing to do."""
        Watch(
            ledger=self.ledger, providers=lambda: [self.provider], locks=self.locks,
            run_over=lambda _: False, save=lambda _: None, cap_day_usd=None, say=lambda _: None,
        ).step()  # fmt: skip

    def all_vanish(self) -> None:
        """A pass that changes every living row: after it all are lost."""
        hidden, self.provider.instances = self.provider.instances, {}
        self.reconcile()
        self.provider.instances = hidden
        self.reconcile()


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = arguments(__doc__)
    parser.add_argument("--reps", type=int, default=15, help="passes of each kind (default: 15)")
    options = parser.parse_args()
    return finish(measured(min(options.reps, 5) if options.quick else options.reps), options.json)


def measured(repetitions: int) -> list[Row]:
    """The rows."""
    with tempfile.TemporaryDirectory(prefix="ups-fleet-") as path:
        fleet = Fleet(Path(path), rows=ROWS, instances=INSTANCES)
        with FileLock(fleet.locks / "watch.lock"):
            fleet.reconcile()  # the first pass notes that all are listed
            reconcile, _ = timed(fleet.reconcile, repetitions)
            refresh, _ = timed(fleet.refresh, repetitions)
            guard, cpu = timed(fleet.guard, repetitions)
            vanish, _ = timed(fleet.all_vanish, repetitions)
    what = f"{ROWS} rows, {INSTANCES} instances"
    return [
        Row(f"reconcile, {what}", reconcile, RECONCILE_S, "bound", "s", "lower", 1.0),
        Row(f"all lost, all seen again, {what}", vanish, 2 * RECONCILE_S, "bound", "s", "lower", 1.0),
        Row(f"refresh of the fleet, {what}", refresh, REFRESH_S, "bound", "s", "lower", 1.0),
        Row(f"pass of the guard, {what}", guard, RECONCILE_S, "bound", "s", "lower", 1.0),
        Row("guard, CPU of a core", cpu / INTERVAL_S, CPU_SHARE, "bound", "", "lower", 1.0),
    ]


def timed(act: Callable[[], None], repetitions: int) -> tuple[float, float]:
    """Medians of wall and CPU seconds."""
    wall, cpu = [], []
    for _ in range(repetitions):
        wall_before, cpu_before = time.perf_counter(), time.process_time()
        act()
        wall.append(time.perf_counter() - wall_before)
        cpu.append(time.process_time() - cpu_before)
    return statistics.median(wall), statistics.median(cpu)


if __name__ == "__main__":
    sys.exit(main())
