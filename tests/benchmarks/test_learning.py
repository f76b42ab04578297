"""The benchmarks of learning measure: the same code paths, on data of seconds."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import gpu, scaling
from benchmarks.support.generated import files, pressure
from tests.ups.training.jobs import tiny_config, tiny_datasets
from ups.config import TrainConfig
from ups.data.fields import Fields
from ups.data.solvers import darcy2d

_MISSING = ("scipy", "pytest", "textual", "psutil", "click", "platformdirs", "hypothesis")


def test_the_gpu_benchmark_needs_no_package_beyond_its_list(tmp_path: Path) -> None:
    """It is imported, and makes its data, where everything else is missing."""
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({_MISSING!r}))\n"
        "from pathlib import Path\n"
        "from benchmarks import gpu\n"
        "gpu.files('darcy2d', Path(sys.argv[1]), 3, 'cpu')\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=120)


def test_the_gpu_benchmark_measures_cost_and_error(tmp_path: Path) -> None:
    config, datasets = tiny_config(), tiny_datasets(tmp_path)
    settings = gpu.Settings("cpu", 1e-3, 0.1, (False,), 16, quick=True)

    rows = {row.what: row for row in gpu.rows_of("tiny", config, datasets, settings)}

    assert {row.holds for row in rows.values()} == {None}
    assert rows["tiny, eager: step"].ours > 0
    used = rows["tiny, eager: utilisation"]
    assert 0 < used.ours < used.peer == 0.1
    for task in datasets:
        error = rows[f"tiny, eager: nRMSE one_step {task}"]
        assert error.ours > 0
        assert error.peer > 0


def test_flops_are_those_of_the_matrix_products(tmp_path: Path) -> None:
    """Twice the width is nearly four times the FLOPs, of which a backward pass makes three quarters."""
    datasets = tiny_datasets(tmp_path)
    small, large = (
        gpu.flops_per_sample(_with_width(width), datasets, "cpu")["advection1d"] for width in (64, 128)
    )
    block = 12 * 128**2 + 2 * 16 * 128  # multiplications per token: four matrices and the attention
    assert large == pytest.approx(3 * 2 * 2 * block * 16, rel=0.25)
    assert 3 < large / small < 4


def _with_width(width: int) -> TrainConfig:
    config = tiny_config(refinement={"channels": 4, "layers": 0})
    pdet = config.operator.pdet.model_copy(update={"hidden_dim": width})
    return config.model_copy(update={"operator": config.operator.model_copy(update={"pdet": pdet})})


def test_conjugate_gradients_agree_with_the_solver(tmp_path: Path) -> None:
    fields = Fields.open(files("darcy2d", tmp_path, 3, "cpu")["train"])
    assert fields.inputs is not None
    assert fields.targets is not None

    coefficient = np.asarray(fields.inputs[0, ..., 0], np.float64)
    exact = darcy2d.pressure(coefficient, np.ones_like(coefficient))

    np.testing.assert_allclose(fields.targets[0, ..., 0], exact, rtol=1e-4)
    twice = pressure(torch.from_numpy(coefficient)[None], 2.0)[0].numpy()
    np.testing.assert_allclose(twice, 2 * exact, rtol=1e-4)


def test_generated_files_are_kept(tmp_path: Path) -> None:
    first = files("advection1d", tmp_path, 3, "cpu")
    written = first["test"].stat().st_mtime_ns

    assert files("advection1d", tmp_path, 3, "cpu") == first
    assert first["test"].stat().st_mtime_ns == written


def test_the_scaling_benchmark_sweeps_parameters_tokens_and_batch(tmp_path: Path) -> None:
    plan = scaling.Plan(((32, 1), (64, 1)), (8, 16), (2, 4), samples=48, timed_steps=4, made=3)

    rows = {row.what: row for row in scaling.swept(plan, tiny_datasets(tmp_path))}

    errors = [row for what, row in rows.items() if "nRMSE" in what]
    assert len(errors) == 2 * 2 + 2 + 1  # two sizes of two tasks; 8 and 16 tokens in 1-D, 16 in 2-D
    assert all(0 < row.ours < 10 for row in errors)
    assert rows["batch 4"].ours > 0
    assert {"ms/step ∝ parameters^p, p", "ms/step ∝ tokens of advection1d^p, p"} <= rows.keys()


def test_the_exponent_of_a_power_law_is_found() -> None:
    assert scaling.fitted_exponent([(n, 3.0 * n**1.5) for n in (1.0, 2.0, 8.0)]) == pytest.approx(1.5)
