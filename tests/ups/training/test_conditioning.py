"""Negative control: an operator that is not told the parameters cannot know how far a wave moves."""

from pathlib import Path

import numpy as np

from tests.ups.converted import advection, write_converted
from tests.ups.training.jobs import curve, make_job, run_job
from ups.config import TrainConfig, parse_train_config

BETAS = (0.1, 0.4, 1.0)
FRAMES, CELLS = 13, 32


def config() -> TrainConfig:
    """Advection alone, told by nothing but the conditioning: no transport skip."""
    return parse_train_config(
        {
            "data": {"task": "advection1d"},
            "latent": {"dim": 16, "tokens": 8},
            "operator": {
                "pdet": {"input_dim": 16, "hidden_dim": 64, "num_heads": 4, "depth": 2},
                "patch": {"advection1d": 4},
            },
            "training": {
                "batch_size": 32, "samples_per_epoch": 1600, "transport_skip": "off", "grad_clip": 1.0,
                "refinement": {"channels": 8, "layers": 1},
            },
            "stages": {"operator": {"epochs": 3, "optimizer": {"lr": 6e-3}}},
        }
    )  # fmt: skip


def files(folder: Path, *, hidden: bool) -> dict[str, Path]:
    """Waves of several speeds; where hidden, every trajectory states the same speed."""
    found = {}
    for seed, (split, samples) in enumerate({"train": 96, "val": 12}.items()):
        states, beta = advection(samples, seed=seed, cells=CELLS, frames=FRAMES, betas=BETAS)
        stated = np.full_like(beta, np.mean(BETAS)) if hidden else beta
        path = folder / f"advection1d_{split}.h5"
        found[split] = write_converted(path, "advection1d", split, {"states": states}, stated, dt=0.05)
    return found


def final_nrmse(folder: Path, *, hidden: bool) -> float:
    folder.mkdir()
    job = make_job(folder / "run", {"advection1d": files(folder, hidden=hidden)}, config())
    run_job(job)
    return float([values["nrmse"] for *_, task, values in curve(job, "val") if task == "advection1d"][-1])


def test_hiding_the_parameters_makes_advection_at_least_five_times_worse(tmp_path: Path) -> None:
    told, hidden = (final_nrmse(tmp_path / str(hides), hidden=hides) for hides in (False, True))
    assert hidden > 5 * told
