"""Incompressible Navier–Stokes with smoke in a closed unit square, the smoke pushed by a body force.

∂v/∂t + v·∇v = −∇p + νΔv + s F,  ∇·v = 0,  ∂s/∂t + v·∇s = 0, ν = 0.01, no slip at the walls. The
published data have a random F for each sample, which no state tells. Here F points away from the
centre and grows with the distance, as buoyancy does around a heavy centre: the same for all samples,
so that a state determines the next one, and symmetric as the square, so that symmetries map solutions
to solutions.

Velocities lie on the faces between cells (the marker-and-cell grid of Harlow & Welch 1965). Momentum by
central differences, smoke by limited upwind fluxes (MUSCL), Heun's method in time; a cosine transform
makes the velocity free of divergence, to rounding, after every stage. What is stored are the means of
opposite faces, in the cells' centres.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from ups.data.solvers.solver import Solver, cell_centres, frame_times, generator
from ups.data.source import Block, Discretisation
from ups.tasks import TASK_SPECS

Doubles = NDArray[np.float64]

_CELLS = 64
_FRAMES = 21
_DT = 0.05
_STEPS = 10
"""Time steps in a frame."""
_VISCOSITY = 0.01
_PUSH = 4.0
"""Force on smoke of 1 at a distance of 1 from the centre."""
_SPEED = 0.5
"""Root mean square of the initial velocity."""
_WAVES = 5
"""Half waves along an axis, at most, of the initial fields."""


@dataclass(frozen=True, slots=True, eq=False)
class Flow:
    """The state of n squares of X × Y cells."""

    x: Doubles
    """Velocity through the faces along the first axis, [n, X+1, Y]; 0 at the walls."""
    y: Doubles
    """Velocity through the faces along the second axis, [n, X, Y+1]; 0 at the walls."""
    smoke: Doubles
    """In the cells, [n, X, Y]."""

    def cells(self) -> Doubles:
        """Velocities and smoke in the cells, [n, X, Y, 3]."""
        x, y = 0.5 * (self.x[:, :-1] + self.x[:, 1:]), 0.5 * (self.y[:, :, :-1] + self.y[:, :, 1:])
        return np.stack([x, y, self.smoke], axis=-1)


@dataclass(frozen=True, slots=True, eq=False)
class Box:
    """What acts on a flow."""

    viscosity: float
    force: Doubles
    """On smoke of 1, in the cells, [2, X, Y], or [2, n, X, Y] where samples differ."""
    slip: bool = False
    """Whether the flow slips along the walls without friction."""


def discretisation() -> Discretisation:
    """64 × 64 cells, 21 frames to t = 1."""
    cells = cell_centres(0.0, 1.0, _CELLS)
    return Discretisation(
        TASK_SPECS["navier_stokes2d"], frame_times(_FRAMES, _DT), ("x", "y"), (cells, cells)
    )


def solve(seed: int, samples: Sequence[int], parameters: tuple[float, ...]) -> Block:
    """States [n, T, X, Y, 3]."""
    assert not parameters
    starts = [_initial(generator(seed, sample)) for sample in samples]
    start = Flow(*(np.stack(parts) for parts in zip(*starts, strict=True)))
    x = cell_centres(0.0, 1.0, _CELLS) - 0.5
    box = Box(_VISCOSITY, _PUSH * np.stack(np.meshgrid(x, x, indexing="ij")))
    return Block(None, evolve(start, box, frames=_FRAMES, dt=_DT, steps=_STEPS).astype(np.float32))


def evolve(start: Flow, box: Box, *, frames: int, dt: float, steps: int) -> Doubles:
    """Solve from a flow, whose divergence is removed first.

    Args:
        start: the flow at time 0.
        box: what acts on it.
        frames: states to return, `dt` apart.
        steps: time steps in a frame.

    Returns:
        [n, frames, X, Y, 3], the first of them `start`.
    """
    flow = project(start)
    states = np.empty((len(flow.smoke), frames, *flow.smoke.shape[1:], 3))
    states[:, 0] = flow.cells()
    for frame in range(1, frames):
        for _ in range(steps):
            flow = _step(flow, box, dt / steps)
        states[:, frame] = flow.cells()
    return states


def divergence(flow: Flow) -> Doubles:
    """Σ ∂vᵢ/∂xᵢ in the cells, [n, X, Y]."""
    cells = flow.smoke.shape[1:]
    total: Doubles = np.diff(flow.x, axis=1) * cells[0] + np.diff(flow.y, axis=2) * cells[1]
    return total


def project(flow: Flow) -> Flow:
    """The flow without the gradient in it: free of divergence, the walls untouched."""
    cells = flow.smoke.shape[1:]
    rates = [(2 * n * np.sin(0.5 * np.pi * np.arange(n) / n)) ** 2 for n in cells]
    symbol = -(rates[0][:, None] + rates[1])
    symbol[0, 0] = 1.0  # the mean of the pressure pushes nothing
    waves = fft.dctn(divergence(flow), type=2, axes=(1, 2), overwrite_x=True)
    waves /= symbol
    pressure = fft.idctn(waves, type=2, axes=(1, 2), overwrite_x=True)
    x, y = flow.x.copy(), flow.y.copy()
    x[:, 1:-1] -= np.diff(pressure, axis=1) * cells[0]
    y[:, :, 1:-1] -= np.diff(pressure, axis=2) * cells[1]
    return Flow(x, y, flow.smoke)


def _step(flow: Flow, box: Box, dt: float) -> Flow:
    """Heun's method, with a projection after either stage."""
    first = project(_moved(flow, _rate(flow, box), dt))
    second = _moved(first, _rate(first, box), dt)
    return project(
        Flow(0.5 * (flow.x + second.x), 0.5 * (flow.y + second.y), 0.5 * (flow.smoke + second.smoke))
    )


def _moved(flow: Flow, rate: Flow, dt: float) -> Flow:
    return Flow(flow.x + dt * rate.x, flow.y + dt * rate.y, flow.smoke + dt * rate.smoke)


def _rate(flow: Flow, box: Box) -> Flow:
    """The time derivative but for the pressure."""
    across = _swap(flow.y)
    return Flow(
        _momentum(flow.x, flow.y, flow.smoke * box.force[0], box),
        _swap(_momentum(across, _swap(flow.x), _swap(flow.smoke * box.force[1]), box)),
        _carried(flow.smoke, flow.x) + _swap(_carried(_swap(flow.smoke), across)),
    )


def _momentum(along: Doubles, across: Doubles, push: Doubles, box: Box) -> Doubles:
    """∂u/∂t of the velocity along the first axis, [n, X+1, Y], 0 at the walls.

    Args:
        along: that velocity, [n, X+1, Y].
        across: the other velocity, [n, X, Y+1].
        push: the force along the first axis in the cells, [n, X, Y].
        box: viscosity and slip.
    """
    nx, ny = push.shape[1:]
    rate = np.zeros_like(along)
    inner = along[:, 1:-1]
    centre = 0.5 * (along[:, :-1] + along[:, 1:])
    stress = box.viscosity * nx * np.diff(along, axis=1) - centre * centre  # in the cells
    rate[:, 1:-1] = np.diff(stress, axis=1) * nx
    # The same through the sides, at the corners of the cells, where nothing flows through the walls.
    shear = np.empty((len(along), nx - 1, ny + 1))
    shear[:, :, 1:-1] = box.viscosity * ny * np.diff(inner, axis=2)
    shear[:, :, 1:-1] -= (
        0.25 * (inner[:, :, :-1] + inner[:, :, 1:]) * (across[:, :-1, 1:-1] + across[:, 1:, 1:-1])
    )
    friction = 0.0 if box.slip else 2.0 * box.viscosity * ny  # against the wall, half a cell away
    shear[:, :, 0] = friction * inner[:, :, 0]
    shear[:, :, -1] = -friction * inner[:, :, -1]
    rate[:, 1:-1] += np.diff(shear, axis=2) * ny
    rate[:, 1:-1] += 0.5 * (push[:, :-1] + push[:, 1:])
    return rate


def _carried(smoke: Doubles, velocity: Doubles) -> Doubles:
    """−∂(u s)/∂x along the first axis, [n, X, Y], with MC-limited upwind values at the faces [n, X+1, Y]."""
    cells = smoke.shape[1]
    jumps = np.diff(smoke, axis=1)  # [n, X-1, Y]
    slopes = np.zeros_like(smoke)  # half of the limited difference; none next to a wall
    limits = np.minimum(np.abs(jumps[:, :-1]), np.abs(jumps[:, 1:]))
    limits[jumps[:, :-1] * jumps[:, 1:] <= 0.0] = 0.0
    np.clip(0.25 * (jumps[:, :-1] + jumps[:, 1:]), -limits, limits, out=slopes[:, 1:-1])
    through = velocity[:, 1:-1]
    flux = np.zeros_like(velocity)
    flux[:, 1:-1] = (
        np.where(through > 0.0, smoke[:, :-1] + slopes[:, :-1], smoke[:, 1:] - slopes[:, 1:]) * through
    )
    change: Doubles = np.diff(flux, axis=1) * -cells
    return change


def _swap(values: Doubles) -> Doubles:
    """The same with the two axes exchanged."""
    return values.swapaxes(1, 2)


def _initial(rng: np.random.Generator) -> tuple[Doubles, Doubles, Doubles]:
    """Velocities on the faces, still at the walls, and smoke of mean 0 and spread 1 of one sample."""
    numbers = np.arange(1, _WAVES + 1)
    decay = 1.0 / (numbers[:, None] ** 2 + numbers**2)
    corners, centres = np.linspace(0.0, np.pi, _CELLS + 1), np.pi * cell_centres(0.0, 1.0, _CELLS)
    waves = np.sin(corners[:, None] * numbers) * np.sin(corners)[:, None]
    stream = waves @ (rng.normal(size=decay.shape) * decay) @ waves.T
    x, y = np.diff(stream, axis=1) * _CELLS, -np.diff(stream, axis=0) * _CELLS
    size = _SPEED / np.sqrt((x**2).mean() + (y**2).mean())
    waves = np.cos(centres[:, None] * np.arange(_WAVES + 1))
    spectrum = rng.normal(size=(_WAVES + 1, _WAVES + 1))
    spectrum[1:, 1:] *= 2.0 * decay
    smoke = waves @ spectrum @ waves.T
    smoke -= smoke.mean()
    return size * x, size * y, smoke / smoke.std()


SOLVER = Solver(
    task="navier_stokes2d",
    version=1,
    default_samples=32,
    parameter_sets=((),),
    batch=8,
    discretisation=discretisation,
    solve=solve,
)
