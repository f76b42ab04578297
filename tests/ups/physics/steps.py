"""Steps of true data, and of authentic files, as `Transition`s."""

from pathlib import Path

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from ups.data.solvers.registry import solver_of
from ups.physics import Transition
from ups.tasks import TASK_SPECS, TaskSpec, task_spec

DATA = Path(__file__).parents[2] / "data"


def steps_of(
    spec: TaskSpec, states: NDArray[np.float32], parameters: tuple[float, ...], dt: float
) -> Transition:
    """All steps of trajectories [N, T, *S, C], one sample each."""
    before, after = (
        torch.from_numpy(np.ascontiguousarray(part, np.float32)).flatten(0, 1)
        for part in (states[:, :-1], states[:, 1:])
    )
    return transition(spec, before, after, parameters, dt)


def transition(
    spec: TaskSpec,
    before: torch.Tensor,
    after: torch.Tensor,
    parameters: tuple[float, ...] = (),
    dt: float = 0.0,
) -> Transition:
    count = len(after)
    values = torch.tensor(parameters).expand(count, -1) if parameters else torch.zeros(count, 0)
    return Transition(spec, before, after, values, torch.full((count,), dt))


def solved(task: str, *, samples: int = 4, first_frame: int = 0) -> Transition:
    """What the task's solver gives for the last of its parameter sets."""
    spec, solver = task_spec(task), solver_of(task)
    parameters = solver.parameter_sets[-1]
    block = solver.solve(0, range(samples), parameters)
    if block.inputs is not None:
        return transition(spec, torch.from_numpy(block.inputs), torch.from_numpy(block.targets), parameters)
    times = solver.discretisation().times
    return steps_of(spec, block.targets[:, first_frame:], parameters, float(times[1] - times[0]))


def authentic(name: str) -> Transition:
    """The steps of one of the authentic files of `tests/data`."""
    with h5py.File(DATA / name) as file:
        if "nu" in file:
            a, u = (torch.from_numpy(file[key][()]) for key in ("nu", "tensor"))
            return transition(task_spec("darcy2d"), a[..., None], u[:, 0, ..., None], (1.0,))
        if "tensor" in file:
            task, attribute = ("advection1d", "beta") if "Advection" in name else ("burgers1d", "Nu")
            dt = float(file["t-coordinate"][1])
            value = float(np.ravel(file.attrs[attribute])[0])
            return steps_of(task_spec(task), file["tensor"][()][..., None], (value,), dt)
        (spec,) = (spec for spec in TASK_SPECS.values() if spec.raw_files == name)
        states = np.stack([group["data"][()] for group in file.values()])
        dt = float(file["0000/grid/t"][1])
        return steps_of(spec, states[:, 1:], (), dt)
