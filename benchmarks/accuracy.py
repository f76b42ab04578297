"""How wrong one joint operator is beside one FNO per task that had the same CPU time in all.

Each side is trained for the same total of single-thread CPU seconds, on the same converted files: the
published raw files of `--data DIR`, or what the reference solvers make. The FNOs (neuraloperator) are
tuned: several sizes and rates per task and budget are trained for the first seed and chosen on the
validation split. Figures are nRMSE on the test split, medians over seeds; `geomean` is the geometric
mean over tasks (time steppers in the rollout of 40 steps). Further rows show where the gain comes
from; what they need beyond the weights that are there is trained for the first seed and the smallest budget
only.
"""

import sys
import tempfile
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.support.comparison import Row, arguments, finish
from benchmarks.support.contest import Contest, planned_trainings
from benchmarks.support.datasets import Datasets, prepare
from benchmarks.support.peers import MissingPeerError, require_fno
from benchmarks.support.task_sets import TASK_SETS
from benchmarks.support.trials import Progress, Runner
from ups.errors import UpsError

_QUICK_SAMPLES = 30
"""Initial conditions that the solvers make with `--quick`."""


def main(arguments_given: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit code."""
    options = _options(arguments_given)
    rows: list[Row] = []
    try:
        require_fno()
        with tempfile.TemporaryDirectory(prefix="ups-accuracy-") as folder:
            tasks = sorted({task for size in options.sets for task in TASK_SETS[size]})
            samples = _QUICK_SAMPLES if options.quick else None
            print(f"preparing the data of {', '.join(tasks)}", flush=True)
            datasets = prepare(tasks, Path(folder), raw=options.data, samples=samples)
            _run(options, datasets, rows)
    except (MissingPeerError, UpsError) as error:
        hint = f"\nhint: {error.hint}" if isinstance(error, UpsError) and error.hint else ""
        print(f"error: {error}{hint}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        finish(rows, options.json)
        print("interrupted: the rows above are complete; --resume FILE goes on from there", file=sys.stderr)
        return 130
    return finish(rows, options.json)


def _run(options: Namespace, datasets: Datasets, rows: list[Row]) -> None:
    """Add the rows of each set of tasks and budget as they come."""
    sizes = [(size, budget) for budget in options.budgets for size in options.sets]
    explained = min(options.budgets)
    planned = sum(
        budget * planned_trainings(options.seeds, quick=options.quick, explained=budget == explained)
        for _, budget in sizes
    )
    progress = Progress(planned)
    runner = Runner(datasets, progress, jobs=options.jobs, kept=options.resume)
    for size, budget in sizes:
        contest = Contest(
            TASK_SETS[size], budget, tuple(range(options.seeds)), runner, datasets,
            quick=options.quick, explained=budget == explained,
        )  # fmt: skip
        rows += contest.rows()


def _options(given: Sequence[str] | None) -> Namespace:
    parser = arguments(__doc__)
    parser.add_argument("--data", type=Path, metavar="DIR", help="raw files under their published names")
    parser.add_argument(
        "--budgets", type=float, nargs="+", metavar="S", help="CPU seconds in all (default: 120 300)"
    )
    parser.add_argument(
        "--sets", type=int, nargs="+", choices=tuple(TASK_SETS), help="sizes of task sets (default: 2 4)"
    )
    parser.add_argument("--seeds", type=int, help="trainings of each side (default: 3)")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time (default: 2)")
    parser.add_argument("--resume", type=Path, metavar="FILE", help="keep finished trainings here")
    options = parser.parse_args(given)
    options.budgets = options.budgets or ([20.0] if options.quick else [120.0, 300.0])
    options.sets = options.sets or ([2] if options.quick else [2, 4])
    options.seeds = options.seeds or (1 if options.quick else 3)
    return options


if __name__ == "__main__":
    sys.exit(main())
