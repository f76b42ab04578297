"""What the shipped configs cost and reach on a GPU: ms/step, model flops utilisation, memory, nRMSE.

Needs torch, numpy, h5py, safetensors, einops, pydantic and pyyaml, nothing else, so that it runs on a bare
CUDA image: `python benchmarks/gpu.py`. Every config's operator stage is trained in bfloat16 with and
without `training.compile` for `--minutes`, by the project's own entry, on data that are made here; what a
config cannot be given is said.

Model flops utilisation is the matrix-product and convolution FLOPs of a step (forward and backward,
counted by torch) by its time and the peak of the card. With `--device cpu --quick` the same code runs
anywhere, in about a minute, and judges nothing.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.support.comparison import Row, arguments, finish
from benchmarks.support.generated import files
from benchmarks.support.measured_run import Datasets, Figures, run
from ups.capabilities import unsupported
from ups.config import TrainConfig, load_train_config
from ups.errors import UpsError
from ups.training.augment import to_device
from ups.training.batch import Moment
from ups.training.setup import new_operator, open_data
from ups.training.trainee import OperatorTrainee, schedule_of

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
UTILISATION_BAR = 0.40
_JUDGED_LATENT = (128, 128)
"""`latent.dim` and `latent.tokens` of the configs that the bar is for."""
_MEASURED_STEPS = 60
_LOG_EVERY = 10

# Dense bfloat16 with float32 sums, from NVIDIA's data sheets of each card; the longest name that fits counts.
PEAK_TFLOPS = {
    "A100": 312.0, "A10": 125.0, "A40": 149.7, "A6000": 154.8, "L4": 121.0, "L40S": 362.0, "H100 PCIe": 756.0,
    "H100 NVL": 835.0, "H100": 989.0, "H200": 989.0, "GH200": 989.0, "B200": 2250.0, "RTX 3090": 71.0,
    "RTX 4090": 165.2, "RTX 5090": 209.5, "RTX 6000 Ada": 364.2,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Settings:
    """How the configs are measured."""

    device: str
    minutes: float
    """Of training, per config and mode."""
    peak_tflops: float | None
    """None: not known, so that no utilisation can be given."""
    compiled: tuple[bool, ...]
    """The modes: with and without `training.compile`."""
    samples: int
    """Initial conditions of each task."""
    quick: bool


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit code."""
    options = _parser().parse_args(argv)
    peak = options.peak_tflops or peak_tflops(options.device)
    if peak is None:
        print(f"the peak of {options.device} is not known: --peak-tflops N gives utilisation")
    modes = {"both": (False, True), "on": (True,), "off": (False,)}
    cuda = options.device.startswith("cuda")
    settings = Settings(
        options.device, 0.1 if options.quick else options.minutes, peak,
        modes[options.compile or ("both" if cuda else "off")],
        16 if options.quick else 512, options.quick or not cuda,
    )  # fmt: skip
    if not cuda:
        torch.set_num_threads(1)
    names = options.config or (["local_2task"] if options.quick else shipped())
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="ups-gpu-") as temporary:
        folder = options.cache or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            rows += measured(name, settings, folder)
    return finish(rows, options.json)


def _parser() -> argparse.ArgumentParser:
    parser = arguments(__doc__)
    parser.add_argument("--device", default="cuda", help="torch device (default: cuda)")
    parser.add_argument("--minutes", type=float, default=10.0, help="training of each config (default: 10)")
    parser.add_argument("--peak-tflops", type=float, help="of the card in dense bfloat16, if it is not known")
    parser.add_argument(
        "--config", action="append", metavar="NAME", help="only this shipped config; repeatable"
    )
    parser.add_argument(
        "--compile", choices=("both", "on", "off"), help="modes (default: both; on a CPU off)"
    )
    parser.add_argument("--cache", type=Path, metavar="DIR", help="keep the generated data here")
    return parser


def shipped() -> list[str]:
    """The names of the training configs."""
    return sorted(path.stem for path in CONFIGS.glob("*.yaml") if not path.stem.startswith("eval_"))


def peak_tflops(device: str) -> float | None:
    """Dense bfloat16 peak of a GPU; None where it is not in the table."""
    if not device.startswith("cuda"):
        return None
    name = torch.cuda.get_device_name(device)
    known = [key for key in PEAK_TFLOPS if key in name]
    return PEAK_TFLOPS[max(known, key=len)] if known else None


def measured(name: str, settings: Settings, folder: Path) -> list[Row]:
    """The rows of one config; none, with the reason printed, where it cannot be trained here."""
    base = load_train_config(CONFIGS / f"{name}.yaml")
    found = unsupported(base)
    if found:
        print(f"{name}: left out: {'; '.join(found)}")
        return []
    try:
        datasets: Datasets = {
            task: files(task, folder, settings.samples, settings.device) for task in base.data.task
        }
    except UpsError as error:
        print(f"{name}: left out: {error}")
        return []
    print(f"{name}: {', '.join(base.data.task)}", flush=True)
    return rows_of(name, base, datasets, settings)


def rows_of(name: str, base: TrainConfig, datasets: Datasets, settings: Settings) -> list[Row]:
    """The rows of a config on its data."""
    flops = flops_per_sample(base, datasets, settings.device)
    modes = {compiled: _mode(base, datasets, settings, compiled=compiled) for compiled in settings.compiled}
    for compiled, (speed, _) in modes.items():
        for warning in speed.warnings:
            print(f"{name}, {_words(compiled)}: {warning}")
    return list(_rows(name, base, settings, flops, modes))


def flops_per_sample(config: TrainConfig, datasets: Datasets, device: str) -> dict[str, float]:
    """FLOPs of one sample's forward and backward pass, for each task, without unrolling."""
    data = open_data(config, datasets)
    model, guards = new_operator(config, data, config.seed)
    schedule = schedule_of(config, "operator", 1)
    objective = OperatorTrainee(config, model.to(device), guards, device, schedule).objective(model)
    counts = {}
    for task, entry in data.items():
        size = config.training.batch_size_of(task)
        chosen = np.arange(size) % len(entry.pairs)
        batch = to_device(entry.pairs.take(chosen // entry.pairs.starts, chosen % entry.pairs.starts), device)
        with FlopCounterMode(display=False) as counter:
            loss, _ = objective(batch, Moment())
            torch.autograd.backward(loss)
        counts[task] = counter.get_total_flops() / size
    return counts


def _mode(
    base: TrainConfig, datasets: Datasets, settings: Settings, *, compiled: bool
) -> tuple[Figures, Figures]:
    """A short training that is timed, and one as long as `settings.minutes` that is judged."""
    per_step = base.training.accum_steps * max(base.training.batch_size_of(task) for task in datasets)
    steps = 2 * _LOG_EVERY if settings.quick else _MEASURED_STEPS
    short = _config(base, settings, compiled, samples=steps * per_step, epochs=1, unroll=False)
    speed = run(short, datasets, settings.device, judge=False)
    epochs = 1 if settings.quick else base.stages.operator.epochs
    samples = max(per_step, round(speed.samples_per_second * 60 * settings.minutes / epochs))
    long = _config(base, settings, compiled, samples=samples, epochs=epochs, unroll=True)
    return speed, run(long, datasets, settings.device)


def _config(
    base: TrainConfig, settings: Settings, compiled: bool, *, samples: int, epochs: int, unroll: bool
) -> TrainConfig:
    """The operator stage of a config, for a number of samples."""
    content: dict[str, Any] = base.model_dump(mode="json")
    content["training"].update(
        amp=True, compile=compiled, samples_per_epoch=samples, patience=None,
        log_every=2 if settings.quick else _LOG_EVERY,
    )  # fmt: skip
    if not unroll:
        content["training"]["rollout_curriculum"]["enabled"] = False
    operator = {**content["stages"]["operator"], "epochs": epochs}
    content["stages"] = {"operator": operator}
    if settings.quick:
        content["evaluation"].update(validation_samples=1, rollout_steps=2, symmetric_average=False)
    return TrainConfig.model_validate(content)


def _rows(
    name: str,
    base: TrainConfig,
    settings: Settings,
    flops: Mapping[str, float],
    modes: Mapping[bool, tuple[Figures, Figures]],
) -> Iterator[Row]:
    eager = modes.get(False)
    for compiled, (speed, trained) in modes.items():
        prefix = f"{name}, {_words(compiled)}:"
        beside = (eager or modes[compiled])[0]
        yield Row(
            f"{prefix} step",
            1e3 * speed.seconds_per_step,
            1e3 * beside.seconds_per_step,
            "eager",
            "ms",
            "lower",
        )
        per_second = speed.samples_per_second * sum(
            flops[task] * share for task, share in speed.shares.items()
        )
        if settings.peak_tflops is not None:
            judged = compiled and not settings.quick
            fits = (base.latent.dim, base.latent.tokens) == _JUDGED_LATENT
            yield Row(
                f"{prefix} utilisation", per_second / 1e12, settings.peak_tflops, "peak", "TFLOP/s", "higher",
                UTILISATION_BAR if fits else None, judged,
            )  # fmt: skip
        else:
            yield Row(f"{prefix} model FLOPs", per_second / 1e12, 0.0, "unknown peak", "TFLOP/s", "higher")
        if speed.peak_bytes:
            yield Row(
                f"{prefix} peak memory", speed.peak_bytes / 2**30, beside.peak_bytes / 2**30, "eager", "GiB",
                "lower",
            )  # fmt: skip
        for task, figures in trained.test.items():
            for kind in ("one_step", "rollout"):
                yield Row(
                    f"{prefix} nRMSE {kind} {task}", _number(figures[kind]),
                    _number(figures[f"persistence_{kind}"]), "persistence", "", "lower",
                )  # fmt: skip


def _number(value: float | None) -> float:
    """A figure of a report, where one that is not finite is null."""
    return float("inf") if value is None else value


def _words(compiled: bool) -> str:
    return "compiled" if compiled else "eager"


if __name__ == "__main__":
    sys.exit(main())
