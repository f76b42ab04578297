"""Darcy flow, −∇·(a ∇u) = β on the unit square, u = 0 on its boundary, on unstructured triangles.

Linear (P1) finite elements on a Delaunay triangulation; every sample has a mesh of its own, a
jittered hexagonal lattice under a random rotation. The coefficient is log-normal: the exponential of
a smooth random field, given in the nodes and averaged in each triangle. Second order in the mesh width.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, spatial
from scipy.sparse import linalg

from ups.data.points import Indices, PointBlock, PointDiscretisation, PointSample
from ups.data.solvers.solver import Solver, generator
from ups.tasks import TASK_SPECS

Doubles = NDArray[np.float64]

_FEWEST, _MOST = 600, 1100
"""Nodes that a mesh is made for; the lattice hits that to a few per cent."""
_JITTER = 0.2
"""Of the lattice spacing, in each direction."""
_CLEARANCE = 0.55
"""Least distance, in lattice spacings, of inner nodes from the boundary."""
_WAVES = 12
_LARGEST_WAVE_NUMBER = 2.0
"""Of the waves whose sum is the logarithm of the coefficient, in periods along an axis."""
_LOG_DEVIATION = 0.6
_FLATTEST = 1e-9
"""Least area of a triangle, of the square's: nodes on one edge of it make no triangle."""


def discretisation() -> PointDiscretisation:
    """At most about 1,200 nodes."""
    return PointDiscretisation(TASK_SPECS["darcy2d_mesh"], np.zeros(0), round(1.1 * _MOST))


def solve(seed: int, samples: Sequence[int], parameters: tuple[float, ...]) -> PointBlock:
    """Meshes with the coefficient as input and the pressure as answer."""
    (beta,) = parameters
    return PointBlock(tuple(_sample(generator(seed, sample), beta) for sample in samples))


def _sample(rng: np.random.Generator, beta: float) -> PointSample:
    nodes, boundary = mesh_nodes(rng, int(rng.integers(_FEWEST, _MOST + 1)))
    cells = triangles(nodes)
    coefficient = _coefficient(rng, nodes)
    answer = pressure(nodes, cells, boundary, coefficient, np.full(len(nodes), beta))
    return PointSample(
        nodes.astype(np.float32), coefficient[:, None].astype(np.float32),
        answer[:, None].astype(np.float32), boundary, cells,
    )  # fmt: skip


def mesh_nodes(rng: np.random.Generator, count: int) -> tuple[Doubles, NDArray[np.bool_]]:
    """About `count` nodes [P, 2] in the unit square, and which [P] lie on its boundary."""
    spacing = np.sqrt(2 / (np.sqrt(3) * count))
    reach = int(np.ceil(1 / spacing)) + 1
    i, j = np.meshgrid(*2 * [np.arange(-reach, reach + 1)], indexing="ij")
    lattice = spacing * np.stack([i + 0.5 * j, np.sqrt(0.75) * j], axis=-1).reshape(-1, 2)
    angle = rng.uniform(0.0, np.pi / 3)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    inner = 0.5 + (lattice + rng.uniform(-0.5, 0.5, 2) * spacing) @ turn.T
    inner += rng.uniform(-_JITTER, _JITTER, inner.shape) * spacing
    margin = _CLEARANCE * spacing
    inner = inner[((inner > margin) & (inner < 1 - margin)).all(axis=1)]
    edge = np.linspace(0.0, 1.0, max(2, round(1 / spacing)) + 1)[:-1]
    zero, one = np.zeros_like(edge), np.ones_like(edge)
    sides = [(edge, zero), (one, edge), (1 - edge, one), (zero, 1 - edge)]
    outline = np.concatenate([np.stack(side, axis=1) for side in sides])
    nodes = np.concatenate([outline, inner])
    return nodes, np.arange(len(nodes)) < len(outline)


def triangles(nodes: Doubles) -> Indices:
    """[E, 3] the Delaunay triangles of nodes [P, 2], in one sense of rotation."""
    cells = np.asarray(spatial.Delaunay(nodes).simplices, np.int32)
    area = _double_areas(nodes, cells)
    cells = np.where((area < 0)[:, None], cells[:, [0, 2, 1]], cells)
    return np.ascontiguousarray(cells[np.abs(area) > 2 * _FLATTEST])


def pressure(
    nodes: Doubles, cells: Indices, boundary: NDArray[np.bool_], coefficient: Doubles, source: Doubles
) -> Doubles:
    """The P1 solution of −∇·(a ∇u) = f, u = 0 on the boundary.

    Args:
        nodes: [P, 2].
        cells: [E, 3].
        boundary: [P].
        coefficient: a in the nodes, [P].
        source: f in the nodes, [P].

    Returns:
        u in the nodes, [P].
    """
    corners = nodes[cells]
    area = 0.5 * np.abs(_double_areas(nodes, cells))
    edges = corners[:, [2, 0, 1]] - corners[:, [1, 2, 0]]  # opposite to each corner
    weight = coefficient[cells].mean(axis=1) / (4 * area)
    stiffness = weight[:, None, None] * np.einsum("eid,ejd->eij", edges, edges)
    rows, columns = np.repeat(cells, 3, axis=1).ravel(), np.tile(cells, (1, 3)).ravel()
    count = len(nodes)
    matrix = sparse.csc_matrix((stiffness.ravel(), (rows, columns)), shape=(count, count))
    # the consistent mass matrix of a triangle: area / 12, twice that on the diagonal
    values = source[cells]
    moments = area[:, None] / 12 * (values.sum(axis=1, keepdims=True) + values)
    load = np.bincount(cells.ravel(), moments.ravel(), count)
    free = np.flatnonzero(~boundary)
    answer = np.zeros(count)
    answer[free] = linalg.splu(
        matrix[free][:, free],
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    ).solve(load[free])
    return answer


def _double_areas(nodes: Doubles, cells: Indices) -> Doubles:
    """[E] twice the signed area."""
    first, second, third = np.moveaxis(nodes[cells], 1, 0)
    a, b = second - first, third - first
    areas: Doubles = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    return areas


def _coefficient(rng: np.random.Generator, nodes: Doubles) -> Doubles:
    """[P] of a log-normal random field."""
    wave = rng.uniform(-_LARGEST_WAVE_NUMBER, _LARGEST_WAVE_NUMBER, (_WAVES, 2))
    phase, amplitude = rng.uniform(0.0, 2 * np.pi, _WAVES), rng.normal(size=_WAVES)
    logarithm = np.sin(2 * np.pi * nodes @ wave.T + phase) @ amplitude
    field: Doubles = np.exp(_LOG_DEVIATION * np.sqrt(2 / _WAVES) * logarithm)
    return field


SOLVER = Solver(
    task="darcy2d_mesh",
    version=1,
    default_samples=1000,
    parameter_sets=((1.0,),),
    batch=32,
    discretisation=discretisation,
    solve=solve,
)
