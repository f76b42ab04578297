"""Shallow water in a square with open sides: a round dam in its centre breaks.

∂h/∂t + ∇·(hv) = 0,  ∂(hv)/∂t + ∇·(hv⊗v + ½gh²) = 0 with g = 1, from still water of height 2 within the dam
and 1 around it. Samples differ in the radius of the dam. Only the height is stored.

Finite volumes: heights and velocities with slopes limited by the MC limiter (MUSCL, van Leer 1979),
the fluxes of the HLLC solver (Toro 2001), Heun's method. A quarter of the square is solved, and mirrored, on
cells of half the width of those that are stored, which hold the means of the fine ones. The cells that
the dam cuts begin with their mean height: every radius has a start of its own. The published data take
the height in a cell's centre instead, so that on few cells many radii share one start.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ups.data.solvers.solver import Solver, cell_centres, frame_times, generator
from ups.data.source import Block, Discretisation
from ups.tasks import TASK_SPECS

Doubles = NDArray[np.float64]

_CELLS = 64
_FRAMES = 51
_DT = 0.02
_REFINEMENT = 2
_STEPS = 2
"""Time steps in a frame. No wave is faster than 1.7: a Courant number of 0.44 on the fine cells."""
_HALF = 2.5
"""Of the length of a side."""
_RADII = (0.3, 0.7)
_INNER, _OUTER = 2.0, 1.0
_GRAVITY = 1.0


def discretisation() -> Discretisation:
    """64 × 64 cells, 51 frames to t = 1."""
    cells = cell_centres(-_HALF, _HALF, _CELLS)
    spec = TASK_SPECS["shallow_water2d"]
    return Discretisation(spec, frame_times(_FRAMES, _DT), ("x", "y"), (cells, cells))


def solve(seed: int, samples: Sequence[int], parameters: tuple[float, ...]) -> Block:
    """States [n, T, X, Y, 1]."""
    assert not parameters
    radii = [generator(seed, sample).uniform(*_RADII) for sample in samples]
    faces = np.linspace(0.0, _HALF, _CELLS // 2 * _REFINEMENT + 1)
    initial = np.stack([dam(radius, faces) for radius in radii])
    fine = evolve(initial, faces[1], frames=_FRAMES, dt=_DT, steps=_STEPS, mirrored=True)
    shape = (*fine.shape[:2], _CELLS // 2, _REFINEMENT, _CELLS // 2, _REFINEMENT)
    quarter = fine.reshape(shape).mean(axis=(3, 5))
    half = np.concatenate([quarter[:, :, ::-1], quarter], axis=2)
    states = np.concatenate([half[:, :, :, ::-1], half], axis=3)
    return Block(None, states[..., None].astype(np.float32))


def dam(radius: float, faces: Doubles) -> Doubles:
    """Mean heights of the cells between `faces` [X + 1] ≥ 0 along either axis: [X, X]."""

    def under_arc(x: Doubles) -> Doubles:
        """∫₀ˣ √(r² − s²) ds."""
        return 0.5 * (x * np.sqrt(radius**2 - x**2) + radius**2 * np.arcsin(x / radius))

    inside = np.minimum(faces, radius)
    x, y = inside[:, None], inside
    straight = np.minimum(x, np.sqrt(radius**2 - y**2))  # up to where the arc is above y
    area = y * straight + under_arc(x) - under_arc(straight)  # of the disc between 0 and x, 0 and y
    share = np.diff(np.diff(area, axis=0), axis=1) / np.diff(faces)[:, None] / np.diff(faces)
    return np.asarray(_OUTER + (_INNER - _OUTER) * share, np.float64)


def evolve(
    height: Doubles, width: float, *, frames: int, dt: float, steps: int, mirrored: bool = False
) -> Doubles:
    """Solve from still water.

    Args:
        height: [n, X, Y] means of the cells at time 0, positive.
        width: of a cell.
        frames: heights to return, `dt` apart.
        steps: time steps in a frame; a wave may travel half a cell in one.
        mirrored: the lower sides are mirrors instead of open.

    Returns:
        [n, frames, X, Y], the first of them `height`.
    """
    heights = np.empty((len(height), frames, *height.shape[1:]))
    heights[:, 0] = height
    state = np.stack([height, np.zeros_like(height), np.zeros_like(height)])
    ratio = dt / steps / width
    for frame in range(1, frames):
        for _ in range(steps):
            predicted = state + ratio * _inflow(state, mirrored=mirrored)
            corrected = predicted + ratio * _inflow(predicted, mirrored=mirrored)
            state = 0.5 * (state + corrected)
        heights[:, frame] = state[0]
    return heights


def _inflow(state: Doubles, *, mirrored: bool) -> Doubles:
    """What flows into each cell through its faces: [3, n, X, Y] (height and momentum) → the same."""
    height = state[0]
    velocity = state[1:] / height
    total = np.empty_like(state)
    first = _fluxes(*(part.swapaxes(1, 2) for part in (height, *velocity)), mirrored=mirrored)
    for part, flux in zip(total, first, strict=True):
        np.subtract(flux[..., :-1].swapaxes(1, 2), flux[..., 1:].swapaxes(1, 2), out=part)
    second = _fluxes(height, velocity[1], velocity[0], mirrored=mirrored)
    for index, flux in zip((0, 2, 1), second, strict=True):
        total[index] += flux[..., :-1]
        total[index] -= flux[..., 1:]
    return total


def _fluxes(
    height: Doubles, normal: Doubles, across: Doubles, *, mirrored: bool
) -> tuple[Doubles, Doubles, Doubles]:
    """Of water, normal and transverse momentum through the faces along the last axis, [n, A, B + 1]."""
    (hl, hr), (ul, ur), (vl, vr) = (
        _at_faces(field, -1.0 if mirrored and field is normal else 1.0, mirrored=mirrored)
        for field in (height, normal, across)
    )
    mass_l, mass_r = hl * ul, hr * ur
    root_l, root_r = np.sqrt(hl), np.sqrt(hr)
    # Einfeldt's bounds of the fastest waves: those of either side, and those of Roe's mean state.
    speed = np.sqrt(0.5 * _GRAVITY * (hl + hr))
    mean = (root_l * ul + root_r * ur) / (root_l + root_r)
    celerity = np.sqrt(_GRAVITY)
    slowest = np.minimum(np.minimum(ul - celerity * root_l, mean - speed), 0.0)
    fastest = np.maximum(np.maximum(ur + celerity * root_r, mean + speed), 0.0)
    inverse, product = 1.0 / (fastest - slowest), slowest * fastest
    water = (fastest * mass_l - slowest * mass_r + product * (hr - hl)) * inverse
    push_l, push_r = (
        mass * u + 0.5 * _GRAVITY * h * h for mass, u, h in ((mass_l, ul, hl), (mass_r, ur, hr))
    )
    momentum = (fastest * push_l - slowest * push_r + product * (mass_r - mass_l)) * inverse
    # Transverse momentum comes with the water, from the side that it comes from (the C of HLLC).
    return water, momentum, water * np.where(water >= 0.0, vl, vr)


def _at_faces(field: Doubles, sign: float, *, mirrored: bool) -> tuple[Doubles, Doubles]:
    """Values [n, A, B + 1] on the lower and the upper side of the faces along the last axis."""
    padded = np.empty((*field.shape[:-1], field.shape[-1] + 4))
    padded[..., 2:-2], padded[..., -2:] = field, field[..., -1:]
    padded[..., :2] = sign * field[..., 1::-1] if mirrored else field[..., :1]
    jumps = np.diff(padded)
    before, after = jumps[..., :-1], jumps[..., 1:]
    # Half of the MC-limited difference: a quarter of the central one, at most the smaller one-sided.
    limits = np.minimum(np.abs(before), np.abs(after))
    limits *= before * after > 0.0
    slopes = np.clip(0.25 * (before + after), -limits, limits)
    return padded[..., 1:-2] + slopes[..., :-1], padded[..., 2:-1] - slopes[..., 1:]


SOLVER = Solver(
    task="shallow_water2d",
    version=1,
    default_samples=32,
    parameter_sets=((),),
    batch=4,
    discretisation=discretisation,
    solve=solve,
)
