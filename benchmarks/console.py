"""The console beside W&B LEET, the terminal viewer that comes with wandb, on the same run.

Both are driven in a terminal of 120 × 40. The data are one run, written twice with the same floats: by
wandb itself, offline, and as `events.jsonl`. The viewers take turns; a row shows the medians of the turns,
its ratio is the median of the turns' ratios. LEET is what users start, `wandb leet`: a Python program that
starts wandb-core. The rows for `wandb-core` start that by itself.

*First chart* is from the start to four cells of a curve on the screen, *load* to the last step on the axis
(LEET) or to the last that was drawn (ours), *key* from a key to the first output after it. CPU is that of
the process tree, as a share of one core. Clock times depend on what else the machine does, which the JSON
tells; CPU times hardly do.

`--large` looks at 15 tasks of a million points, two gigabytes of log and twenty runs; `--flood` at 20,000
events and 100,000 log lines a second. Both have fixed bars instead of a peer.
"""

import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.support import heavy_console
from benchmarks.support.comparison import Row, arguments, finish
from benchmarks.support.machine_load import MachineLoad
from benchmarks.support.terminal import console_command
from benchmarks.support.twin_runs import QUIETLY, Writer, write_finished
from benchmarks.support.viewing import (
    Following,
    Viewer,
    Viewing,
    follow,
    median_of_ratios,
    percentile,
    view,
)

TASKS = 5
LEET, CORE = "LEET", "wandb-core"


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    steps: int
    """Of the finished run."""
    open_steps: int
    """Of the open one, before more are appended."""
    turns: int
    presses: int
    idle_s: float
    live_s: float
    rates: Sequence[float] = (20.0, 200.0)
    judged: bool = True


_FULL = Sizes(100_000, 10_000, 5, 30, 8.0, 8.0)
_QUICK = Sizes(10_000, 2_000, 1, 12, 2.0, 2.0, judged=False)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit code."""
    parser = arguments(__doc__)
    parser.add_argument("--turns", type=int, help="sessions of each viewer (default: 5)")
    parser.add_argument(
        "--scratch", type=Path, help="where the data are put meanwhile (default: the temporary folder)"
    )
    parser.add_argument("--large", action="store_true", help="measure large runs instead")
    parser.add_argument("--flood", action="store_true", help="measure floods of events and log lines instead")
    options = parser.parse_args(argv)
    sizes = _QUICK if options.quick else _FULL
    heavy_sizes = heavy_console.QUICK if options.quick else heavy_console.FULL
    load = MachineLoad()
    with tempfile.TemporaryDirectory(prefix="ups-console-", dir=options.scratch) as scratch:
        folder = Path(scratch)
        rows: list[Row] = []
        if options.large:
            rows += heavy_console.large(folder, heavy_sizes)
        if options.flood:
            rows += heavy_console.flood(folder, heavy_sizes)
        if not (options.large or options.flood):
            rows += beside_leet(folder, sizes, options.turns or sizes.turns)
    return finish(rows, options.json, load.to_json())


def beside_leet(scratch: Path, sizes: Sizes, turns: int) -> list[Row]:
    """All rows that have LEET for a peer."""
    viewers = [ours(scratch), leet(scratch), core(scratch)]
    folders = {kind: write_finished(kind, scratch / kind, TASKS, sizes.steps) for kind in ("events", "wandb")}
    views: dict[str, list[Viewing]] = {viewer.name: [] for viewer in viewers}
    for turn in range(turns + 1):
        for viewer in viewers:
            seen = view(
                viewer, folders[_kind(viewer)], sizes.steps - 1, presses=sizes.presses, idle_s=sizes.idle_s
            )
            if turn:  # the first fills the file cache and writes bytecode
                views[viewer.name].append(seen)
    return [*_finished_rows(views, sizes), *_open_rows(_followed(scratch, viewers[:2], sizes, turns), sizes)]


def _followed(
    scratch: Path, viewers: Sequence[Viewer], sizes: Sizes, turns: int
) -> dict[str, list[Following]]:
    followed: dict[str, list[Following]] = {viewer.name: [] for viewer in viewers}
    with (
        Writer("events", scratch / "open-events", TASKS, sizes.open_steps) as events,
        Writer("wandb", scratch / "open-wandb", TASKS, sizes.open_steps) as wandb,
    ):
        writers = {"events": events, "wandb": wandb}
        for _ in range(turns):
            for viewer in viewers:
                writer = writers[_kind(viewer)]
                followed[viewer.name].append(
                    follow(viewer, writer.folder, writer.append, rates=sizes.rates, seconds=sizes.live_s)
                )
                for _ in sizes.rates:
                    writer.wait()
    return followed


def _finished_rows(views: dict[str, list[Viewing]], sizes: Sizes) -> list[Row]:
    def row(
        what: str, figure: Callable[[Viewing], float], unit: str, bar: float | None = None, peer: str = LEET
    ) -> Row:
        mine, theirs = ([figure(seen) for seen in views[name]] for name in ("ours", peer))
        return _row(what, mine, theirs, peer, unit, bar, sizes)

    return [
        row("first chart", lambda seen: seen.first_chart_s, "s", 0.7),
        row("first chart", lambda seen: seen.first_chart_s, "s", peer=CORE),
        row("first chart, CPU", lambda seen: seen.first_chart_cpu_s, "s"),
        row("load 5x100k", lambda seen: seen.loaded_s, "s", 0.25),
        row("load 5x100k", lambda seen: seen.loaded_s, "s", 0.25, CORE),
        row("load 5x100k, CPU", lambda seen: seen.load_cpu_s, "s"),
        row("load 5x100k, CPU", lambda seen: seen.load_cpu_s, "s", peer=CORE),
        row("key p50", lambda seen: statistics.median(seen.keys_ms), "ms", 0.4),
        row("key p90", lambda seen: percentile(seen.keys_ms, 0.9), "ms"),
        row("key p50", lambda seen: statistics.median(seen.keys_ms), "ms", peer=CORE),
        row("idle CPU", lambda seen: 100 * seen.idle_cpu, "%", 0.5),
        row("peak memory", lambda seen: seen.peak_mb, "MB", 0.6),
        row("peak memory", lambda seen: seen.peak_mb, "MB", 0.9, CORE),
    ]


def _open_rows(followed: dict[str, list[Following]], sizes: Sizes) -> list[Row]:
    def row(what: str, figure: Callable[[Following], float], unit: str, bar: float | None) -> Row:
        mine, theirs = ([figure(seen) for seen in followed[name]] for name in ("ours", LEET))
        return _row(what, mine, theirs, LEET, unit, bar, sizes)

    slow, *faster = sizes.rates
    rows = [row("live CPU", lambda seen: 100 * seen.live_cpu[slow], "%", 0.5)]
    for rate in faster:

        def at(seen: Following, rate: float = rate) -> float:
            return 100 * seen.live_cpu[rate]

        rows.append(row(f"live CPU, {rate:g} rows/s", at, "%", 0.5))
    rows.append(row("idle CPU, open run", lambda seen: 100 * seen.idle_cpu, "%", 0.5))
    rows.append(row("peak memory, live", lambda seen: seen.peak_mb, "MB", None))
    return rows


def _row(
    what: str,
    mine: Sequence[float],
    theirs: Sequence[float],
    peer: str,
    unit: str,
    bar: float | None,
    sizes: Sizes,
) -> Row:
    paired = median_of_ratios(mine, theirs)
    medians = statistics.median(mine), statistics.median(theirs)
    return Row(what, *medians, peer, unit, "lower", bar, sizes.judged, paired)


def ours(scratch: Path) -> Viewer:
    """The console, opened on a run directory."""
    home = {"UPS_HOME": str(scratch / "home")}
    return Viewer("ours", lambda folder: console_command("open", str(folder)), ("right", "left"), home)


def leet(scratch: Path) -> Viewer:
    """LEET as users start it."""
    program = str(Path(sys.executable).with_name("wandb"))
    return Viewer(
        LEET, lambda folder: [program, "leet", str(folder)], ("n", "N"), _quietly(scratch), _axis_end
    )


def core(scratch: Path) -> Viewer:
    """What LEET starts, started by itself."""

    def command(folder: Path) -> list[str]:
        from wandb.util import get_core_path

        (record,) = folder.glob("run-*.wandb")
        options = ["leet", "run", "--no-observability", "--run-file", str(record)]
        return [get_core_path(), *options, str(folder.parent)]

    return Viewer(CORE, command, ("n", "N"), _quietly(scratch), _axis_end)


def _kind(viewer: Viewer) -> str:
    return "events" if viewer.name == "ours" else "wandb"


def _quietly(scratch: Path) -> dict[str, str]:
    return {**QUIETLY, "WANDB_CONFIG_DIR": str(scratch / "wandb-config")}


def _axis_end(step: int) -> str:
    """How LEET labels the end of its axis, before the edge of the chart."""
    if step < 1000:
        return f"{step}│"
    return f"{step / 1000:.2f}".rstrip("0").rstrip(".") + "k│"


if __name__ == "__main__":
    sys.exit(main())
