"""How long a run on an empty disk takes to its first training step, its data behind a line of 1 Gbit/s.

Measured, on datasets that are made here: from the start of the process to the first point of a training
curve, with the tasks that the curriculum draws first coming first, against all tasks at once; and with
a latent cache in the store, against building it first. `--quick` uses small data and a slower line.

Simulated, for the shipped configs at PDEBench's own sizes: bytes by bandwidth, and the rates at which
fields are prepared and encoded, measured here in one process. `--markdown OUT` writes that table.
"""

import math
import shutil
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.support.comparison import Row, arguments, finish
from benchmarks.support.hydrated_run import Box
from benchmarks.support.throttled import GIGABIT
from benchmarks.support.transfer import ALL_FILES, ONE_FILE, Rates, markdown, simulated
from ups import catalog
from ups.config import TrainConfig, load_train_config
from ups.data import latents
from ups.data.cache_build import CacheBuild
from ups.data.cache_shape import CacheShape
from ups.data.convert import make
from ups.data.fields import Fields
from ups.data.sampling import Pairs, PairSampler
from ups.data.survey import survey
from ups.stores.directory import DirectoryStore

BAR = 1.0
_CONFIGS = Path(__file__).resolve().parents[1] / "configs"
_SHIPPED = {
    "2 tasks": "train_pdebench_2task_baseline.yaml",
    "4 tasks": "train_pdebench_4task_curriculum.yaml",
    "5 tasks": "train_pdebench_5task_production.yaml",
}
_FIRST, _LATE = "darcy2d", "advection1d"
_SAMPLES = {_FIRST: 1000, _LATE: 4000}
_QUICK_SAMPLES = {_FIRST: 40, _LATE: 120}
_QUICK_LINE = 4e6


def main(given: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit code."""
    options = _options(given)
    with tempfile.TemporaryDirectory(prefix="ups-hydration-", dir=options.scratch) as folder:
        scratch = Path(folder)
        store = DirectoryStore(scratch / "store")
        for task, samples in (_QUICK_SAMPLES if options.quick else _SAMPLES).items():
            make(store, task, samples=samples)
            size = catalog.dataset(store, task).bytes / 1e6
            print(f"{task}: {size:.0f} MB", flush=True)
        rows = _measured(options, store, scratch)
        table = _simulated(store, scratch)
    code = finish(rows, options.json)
    print(f"\nsimulated, 1 Gbit/s:\n\n{table}")
    if options.markdown is not None:
        options.markdown.write_text(table, encoding="utf-8")
    return code


def _options(given: Sequence[str] | None) -> Namespace:
    parser = arguments(__doc__)
    parser.add_argument("--reps", type=int, default=3, help="starts of each kind (default: 3)")
    parser.add_argument("--markdown", type=Path, metavar="OUT", help="write the simulated table here")
    parser.add_argument("--scratch", type=Path, metavar="DIR", help="where the data go (default: temporary)")
    return parser.parse_args(given)


def _measured(options: Namespace, store: DirectoryStore, scratch: Path) -> list[Row]:
    """Each start in turn, several times; the fastest counts, for others may use the machine too."""
    config, line = _config(), _QUICK_LINE if options.quick else GIGABIT
    fastest = dict.fromkeys(
        ("at once", "first tasks first", "cache computed", "cache in the store"), math.inf
    )

    def start(name: str, *, whole: bool = False, precompute: bool = False) -> None:
        box = Box(scratch / "box", store, line)
        found = box.seconds_to_first_step(config, whole=whole, precompute=precompute)
        shutil.rmtree(box.folder)
        print(f"{name}: {found:.1f} s", flush=True)
        fastest[name] = min(found, fastest.get(name, math.inf))

    start("warm-up")  # bytecode and page cache
    for _ in range(1 if options.quick else options.reps):
        start("at once", whole=True)
        start("first tasks first")
        store.delete_all([info.key for info in store.list(f"{latents.FOLDER}/")])
        start("cache computed", precompute=True)
        start("cache in the store", precompute=True)
    judged = not options.quick
    return [
        Row("to the first step", fastest["first tasks first"], fastest["at once"], "all tasks at once",
            "s", "lower", BAR, judged),
        Row("with a latent cache", fastest["cache in the store"], fastest["cache computed"], "building it",
            "s", "lower", BAR, judged),
    ]  # fmt: skip


def _config() -> TrainConfig:
    """The laptop's two tasks, of which one joins in the second epoch; every step is logged."""
    return load_train_config(
        _CONFIGS / "local_2task.yaml",
        [
            "training.log_every=1", "training.samples_per_epoch=64",
            "training.task_curriculum.enabled=true",
            f"training.task_curriculum.stages=[{{epochs: [0, 1], tasks: [{_FIRST}]}}]",
        ],
    )  # fmt: skip


def _simulated(store: DirectoryStore, scratch: Path) -> str:
    rates = Rates(GIGABIT, _prepare_rate(store), _encode_rate(store, scratch))
    print(f"prepared {rates.prepare / 1e6:.0f} MB/s, encoded {rates.encode / 1e6:.0f} MB/s", flush=True)
    return markdown(
        [
            (name, which, simulated(load_train_config(_CONFIGS / file), files, rates))
            for which, files in (("one of each task", ONE_FILE), ("all", ALL_FILES))
            for name, file in _SHIPPED.items()
        ]
    )


def _prepare_rate(store: DirectoryStore) -> float:
    """Bytes of a trained split per second that are read for its statistics and the weights of its pairs."""
    entry = catalog.dataset(store, _LATE).splits["train"]
    file = store.local_path(entry.key)
    assert file is not None
    fields = Fields.open(file)
    began = time.perf_counter()
    survey(fields)
    PairSampler(Pairs(fields), hard_share=0.7)
    return entry.bytes / (time.perf_counter() - began)


def _encode_rate(store: DirectoryStore, scratch: Path) -> float:
    """Bytes of fields per second that become shards of a latent cache on the disk."""
    entry = catalog.dataset(store, _LATE)
    recipe = CacheShape.of_config(_config()).recipe(entry, "train")
    file = store.local_path(entry.splits["train"].key)
    assert file is not None
    folder = scratch / "shards"
    folder.mkdir()
    build = CacheBuild(recipe, file, folder)
    began = time.perf_counter()
    for shard in build.missing():
        build.convert(shard, lambda samples: None)
    return entry.splits["train"].bytes / (time.perf_counter() - began)


if __name__ == "__main__":
    raise SystemExit(main())
