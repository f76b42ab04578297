"""Small converted files of meshes and particles for tests, made like those of the solvers."""

from pathlib import Path

import numpy as np

from ups.data.point_writer import PointFile
from ups.data.points import PointBlock, PointDiscretisation, PointSample
from ups.data.solvers import darcy2d_mesh, particles_advect
from ups.data.writer import Columns
from ups.tasks import task_spec

SPLITS = {"train": 4, "val": 1, "test": 2}
_FRAMES, _DT = 6, 0.02


def write_points(folder: Path, task: str, *, points: int = 60) -> dict[str, Path]:
    """The three splits of a task, of about so many points a sample."""
    spec, files, first = task_spec(task), {}, 0
    make = mesh if task == "darcy2d_mesh" else particles
    times = np.zeros(0) if spec.static else np.arange(_FRAMES) * _DT
    for split, count in SPLITS.items():
        samples = tuple(make(np.random.default_rng(first + n), points + 3 * n) for n in range(count))
        first += count
        columns = Columns(
            np.ones((count, len(spec.parameters)), np.float32), np.arange(count),
            np.zeros(count, np.int32), np.arange(count),
        )  # fmt: skip
        files[split] = folder / f"{task}_{split}.h5"
        discretisation = PointDiscretisation(spec, times, 2 * points)
        file = PointFile(files[split], split, discretisation, columns)
        provenance = [{"name": "test"}]
        file.lay_out(provenance)
        file.sign(provenance)
        writer = file.writer(0, 0)
        writer.write(PointBlock(samples))
        writer.close()
        file.finish()
    return files


def mesh(random: np.random.Generator, points: int) -> PointSample:
    nodes, boundary = darcy2d_mesh.mesh_nodes(random, points)
    cells = darcy2d_mesh.triangles(nodes)
    a = np.exp(np.sin(2 * np.pi * nodes @ random.uniform(-1, 1, 2)))
    u = darcy2d_mesh.pressure(nodes, cells, boundary, a, np.ones(len(nodes)))
    as_column = [values[:, None].astype(np.float32) for values in (a, u)]
    return PointSample(nodes.astype(np.float32), *as_column, boundary, cells)


def particles(random: np.random.Generator, points: int) -> PointSample:
    flow = particles_advect.random_flow(random, viscosity=0.0)
    paths = particles_advect.carry(flow, random.random((points, 2)), frames=_FRAMES, dt=_DT, steps=2)
    states = np.stack([flow.velocity(paths[:, frame], 0.0) for frame in range(_FRAMES)], axis=1)
    wrapped, states = np.mod(paths, 1.0).astype(np.float32), states.astype(np.float32)
    return PointSample(wrapped, None, states, np.zeros(points, np.bool_), np.zeros((0, 3), np.int32))
