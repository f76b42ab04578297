"""What each PDE task is: the single table that data, models, physics, configs and screens read.

Adding a task means adding one `TaskSpec` here (and, for generated data, a solver in
`ups/data/solvers/`). Nothing else in the project lists tasks by name. Free of torch.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from ups.errors import NotFoundError


class Modality(StrEnum):
    """How a state is discretised."""

    GRID = "grid"
    MESH = "mesh"
    PARTICLES = "particles"


class Boundary(StrEnum):
    """Boundary condition of a task's domain."""

    PERIODIC = "periodic"
    NEUMANN = "neumann"
    DIRICHLET = "dirichlet"
    OUTFLOW = "outflow"
    WALL = "wall"
    MIXED = "mixed"


class Law(StrEnum):
    """The equations whose residual can be computed; `ups.physics.residual` holds how."""

    ADVECTION = "advection"
    """∂u/∂t + β ∂u/∂x = 0."""
    BURGERS = "burgers"
    """∂u/∂t + ∂(u²/2)/∂x = (ν/π) ∂²u/∂x²."""
    FISHER = "fisher"
    """∂u/∂t = ν Δu + ρ u(1−u)."""
    ALLEN_CAHN = "allen_cahn"
    """∂u/∂t = ε²Δu + u − u³."""
    FITZHUGH_NAGUMO = "fitzhugh_nagumo"
    """∂u/∂t = DᵤΔu + u − u³ − k − v;  ∂v/∂t = DᵥΔv + u − v."""
    CONTINUITY = "continuity"
    """∂ρ/∂t + ∇·(ρv) = 0: only the first of the compressible equations."""
    DARCY = "darcy"
    """−∇·(a ∇u) = β."""


class RawLayout(StrEnum):
    """The layouts in which the field publishes such data; the schema of each is in `ups.data.raw`."""

    FLAT = "flat"
    """`tensor` [N,T,X…] with `t-coordinate`, `x-coordinate`."""
    PAIR = "pair"
    """`nu` [N,X,Y] is the input, `tensor` [N,1,X,Y] the answer; no time axis (Darcy)."""
    CHANNELS = "channels"
    """One dataset per field, [N,T,X…]: `density`, `pressure`, `Vx` …"""
    SEED_GROUPS = "seed_groups"
    """One group per seed, `0000/data` [T,X…,C], with `grid/t`, `grid/x`."""
    INCOMPRESSIBLE = "incompressible"
    """`velocity` and `particles` [N,T,X,Y,C], `force` [N,X,Y,C], `t` [N,T]."""
    LAGRANGE = "lagrange"
    """LagrangeBench: one group per trajectory with `position` [T,P,D] and `particle_type`."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A physical parameter that varies between trajectories and conditions the operator."""

    name: str
    raw_attribute: str
    """Attribute of the raw file that holds it."""
    symbol: str
    logarithmic: bool = False
    """Condition on log10 of it: it spans decades."""
    default: float | None = None
    """Value where a raw file does not state it; None means that it must."""
    velocity: bool = False
    """A speed along the first axis at which the state is carried: value × dt is a displacement."""


@dataclass(frozen=True, slots=True)
class FixedValue:
    """A value that a field is held at along one end of an axis.

    It is meant in the centre of the ghost cell, half a cell outside of the domain: so do the published
    generators and the built-in solvers.
    """

    field: str
    axis: int
    high: bool
    """At the upper end of the axis rather than the lower."""
    value: float


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """One PDE problem: its discretisation, fields, parameters, and how its raw data look."""

    name: str
    title: str
    equation: str
    modality: Modality
    spatial_dims: int
    fields: tuple[str, ...]
    """Channel names of the predicted state, in storage order."""
    units: tuple[str, ...]
    """Unit of each channel; the PDEBench problems are non-dimensional, written `1`."""
    boundary: Boundary
    domain: tuple[tuple[float, float], ...]
    """(low, high) of each spatial axis."""
    dt: float
    """Stored time step of the published data; 0 for a static task. Converted files state their own."""
    parameters: tuple[Parameter, ...] = ()
    input_fields: tuple[str, ...] = ()
    """Channel names of the input of a static task; empty where the task is a time stepper."""
    layout: RawLayout | None = None
    raw_datasets: tuple[str, ...] = ()
    """Datasets a raw file of this task must hold, in channel order."""
    raw_axis_order: tuple[str, ...] = ()
    """Spatial axes of the raw arrays, where they are not in the order x, y, z."""
    raw_files: str = ""
    """Glob of the published file names."""
    has_solver: bool = False
    """A built-in reference solver generates its data (registered in `ups.data.solvers`)."""
    short: str = field(default="")
    """At most ten characters, for narrow columns."""
    isotropic: bool = True
    """Mirroring and (in squares and cubes) exchanging axes maps solutions to solutions."""
    vector_fields: tuple[str, ...] = ()
    """Channels that are the components, axis by axis, of a vector, and turn with the axes."""
    divergence_free: bool = False
    """The vector of `vector_fields` has no divergence."""
    conserved: tuple[str, ...] = ()
    """Channels whose mean over the domain no solution changes."""
    positive: tuple[str, ...] = ()
    """Channels that are negative in no solution."""
    fixed: tuple[FixedValue, ...] = ()
    """Dirichlet conditions; what else happens at the border, `boundary` says."""
    law: Law | None = None
    """The equation by which a prediction can be checked."""
    constants: tuple[tuple[str, float], ...] = ()
    """Numbers in `law` that are the same for all samples."""

    @property
    def static(self) -> bool:
        """An input → answer pair rather than a time stepper."""
        return bool(self.input_fields)

    @property
    def periodic(self) -> bool:
        return self.boundary is Boundary.PERIODIC

    @property
    def raw_axes(self) -> tuple[str, ...]:
        """The spatial axes of a raw file's arrays, in their order."""
        return self.raw_axis_order or ("x", "y", "z")[: self.spatial_dims]

    def on(self, domain: Sequence[Sequence[float]]) -> "TaskSpec":
        """The task on the domain of some data, which may be larger than its own.

        A task whose state is one vector goes along into another dimension, where the vector has a component
        for each axis.

        Args:
            domain: (low, high) of each spatial axis.

        Raises:
            ValueError: the domain is empty along an axis, or the task does not live in so many dimensions.
        """
        box = tuple((float(low), float(high)) for low, high in domain)
        if box == self.domain:
            return self
        if any(not low < high for low, high in box):
            raise ValueError(f"the domain {box} is empty")
        dims = len(box)
        if dims == self.spatial_dims:
            return replace(self, domain=box)
        if self.fields != self.vector_fields or self.input_fields or not 1 <= dims <= len(_AXES):
            raise ValueError(f"{self.name} lives in {self.spatial_dims} dimensions, not in {dims}")
        fields = tuple(f"{self.fields[0].removesuffix('_x')}_{axis}" for axis in _AXES[:dims])
        units = self.units[:1] * dims
        return replace(self, spatial_dims=dims, domain=box, fields=fields, vector_fields=fields, units=units)

    def constant(self, name: str) -> float:
        """The value of one of `constants`."""
        return dict(self.constants)[name]

    def parameter_column(self, name: str) -> int:
        """Position of a parameter among `parameters`."""
        return [parameter.name for parameter in self.parameters].index(name)


_AXES = "xyz"
_UNIT = (0.0, 1.0)
_NU = Parameter("nu", "Nu", "ν", logarithmic=True)
_ZERO_AROUND = tuple(FixedValue("u", axis, high, 0.0) for axis in (0, 1) for high in (False, True))
_CNS = ("density", "pressure", "velocity_x", "velocity_y", "velocity_z")
_CNS_RAW = ("density", "pressure", "Vx", "Vy", "Vz")


def _compressible(dims: int, dt: float, domain: tuple[float, float], files: str) -> TaskSpec:
    viscosities = (
        Parameter("eta", "eta", "η", logarithmic=True),
        Parameter("zeta", "zeta", "ζ", logarithmic=True),
    )
    return TaskSpec(
        name=f"compressible_ns{dims}d",
        title=f"Compressible Navier–Stokes, {dims}-D",
        equation="∂ρ/∂t + ∇·(ρv) = 0;  ρ(∂v/∂t + v·∇v) = −∇p + ηΔv + (ζ+η/3)∇(∇·v)",
        modality=Modality.GRID,
        spatial_dims=dims,
        fields=_CNS[: 2 + dims],
        units=("1",) * (2 + dims),
        boundary=Boundary.PERIODIC,
        domain=(domain,) * dims,
        dt=dt,
        parameters=(*viscosities, Parameter("mach", "M", "M")) if dims > 1 else viscosities,
        layout=RawLayout.CHANNELS,
        raw_datasets=_CNS_RAW[: 2 + dims],
        raw_files=files,
        has_solver=True,
        short=f"cns{dims}d",
        vector_fields=_CNS[2 : 2 + dims],
        conserved=("density",),
        positive=("density", "pressure"),
        # In more dimensions a stored step carries even the longest wave too far for a check.
        law=Law.CONTINUITY if dims == 1 else None,
        constants=(("gamma", 5 / 3),),
    )


TASK_SPECS: dict[str, TaskSpec] = {
    spec.name: spec
    for spec in (
        TaskSpec(
            name="advection1d", title="Advection, 1-D", equation="∂u/∂t + β ∂u/∂x = 0",
            modality=Modality.GRID, spatial_dims=1, fields=("u",), units=("1",),
            boundary=Boundary.PERIODIC, domain=(_UNIT,), dt=0.01,
            parameters=(Parameter("beta", "beta", "β", velocity=True),),
            layout=RawLayout.FLAT, raw_datasets=("tensor",), raw_files="1D_Advection_Sols_beta*.hdf5",
            has_solver=True, short="advection", isotropic=False,
            conserved=("u",), law=Law.ADVECTION,
        ),
        TaskSpec(
            name="burgers1d", title="Burgers, 1-D", equation="∂u/∂t + ∂(u²/2)/∂x = (ν/π) ∂²u/∂x²",
            modality=Modality.GRID, spatial_dims=1, fields=("u",), units=("1",),
            boundary=Boundary.PERIODIC, domain=(_UNIT,), dt=0.01, parameters=(_NU,),
            layout=RawLayout.FLAT, raw_datasets=("tensor",), raw_files="1D_Burgers_Sols_Nu*.hdf5",
            has_solver=True, short="burgers", vector_fields=("u",),
            conserved=("u",), law=Law.BURGERS,
        ),
        TaskSpec(
            name="diffusion_sorption1d", title="Diffusion–sorption, 1-D",
            equation="∂u/∂t = D/R(u) ∂²u/∂x²",
            modality=Modality.GRID, spatial_dims=1, fields=("u",), units=("1",),
            boundary=Boundary.MIXED, domain=(_UNIT,), dt=5.0,
            layout=RawLayout.SEED_GROUPS, raw_datasets=("data",), raw_files="1D_diff-sorp_NA_NA.h5",
            has_solver=True, short="diff-sorp", isotropic=False,
            positive=("u",), fixed=(FixedValue("u", 0, high=False, value=1.0),),
        ),
        TaskSpec(
            name="reaction_diffusion1d", title="Reaction–diffusion (Fisher), 1-D",
            equation="∂u/∂t = ν ∂²u/∂x² + ρ u(1−u)",
            modality=Modality.GRID, spatial_dims=1, fields=("u",), units=("1",),
            boundary=Boundary.PERIODIC, domain=(_UNIT,), dt=0.01,
            parameters=(_NU, Parameter("rho", "rho", "ρ")),
            layout=RawLayout.FLAT, raw_datasets=("tensor",), raw_files="ReacDiff_Nu*_Rho*.hdf5",
            has_solver=True, short="fisher",
            positive=("u",), law=Law.FISHER,
        ),
        TaskSpec(
            name="darcy2d", title="Darcy flow, 2-D", equation="−∇·(a ∇u) = β",
            modality=Modality.GRID, spatial_dims=2, fields=("u",), units=("1",),
            boundary=Boundary.DIRICHLET, domain=(_UNIT, _UNIT), dt=0.0,
            parameters=(Parameter("beta", "beta", "β"),), input_fields=("a",),
            layout=RawLayout.PAIR, raw_datasets=("nu", "tensor"), raw_files="2D_DarcyFlow_beta*_Train.hdf5",
            has_solver=True, short="darcy",
            positive=("u",), fixed=_ZERO_AROUND, law=Law.DARCY,
        ),
        TaskSpec(
            name="navier_stokes2d", title="Incompressible Navier–Stokes, 2-D",
            equation="∂v/∂t + v·∇v = −∇p + νΔv + f,  ∇·v = 0",
            modality=Modality.GRID, spatial_dims=2,
            fields=("velocity_x", "velocity_y", "particles"), units=("1", "1", "1"),
            boundary=Boundary.WALL, domain=(_UNIT, _UNIT), dt=0.005,
            layout=RawLayout.INCOMPRESSIBLE, raw_datasets=("velocity", "particles", "force", "t"),
            raw_files="ns_incom_inhom_2d_*.h5", short="ns2d", vector_fields=("velocity_x", "velocity_y"),
            divergence_free=True, has_solver=True,
        ),
        TaskSpec(
            name="allen_cahn2d", title="Allen–Cahn, 2-D", equation="∂u/∂t = ε²Δu + u − u³",
            modality=Modality.GRID, spatial_dims=2, fields=("u",), units=("1",),
            boundary=Boundary.PERIODIC, domain=(_UNIT, _UNIT), dt=0.25,
            parameters=(Parameter("epsilon", "epsilon", "ε", logarithmic=True),),
            has_solver=True, short="allen-cahn", law=Law.ALLEN_CAHN,
        ),
        TaskSpec(
            name="cahn_hilliard2d", title="Cahn–Hilliard, 2-D", equation="∂u/∂t = Δ(u³ − u − ε²Δu)",
            modality=Modality.GRID, spatial_dims=2, fields=("u",), units=("1",),
            boundary=Boundary.PERIODIC, domain=(_UNIT, _UNIT), dt=0.002,
            parameters=(Parameter("epsilon", "epsilon", "ε", logarithmic=True),),
            has_solver=True, short="cahn-hill", conserved=("u",),
        ),
        TaskSpec(
            name="reaction_diffusion2d", title="Reaction–diffusion (FitzHugh–Nagumo), 2-D",
            equation="∂u/∂t = DᵤΔu + u − u³ − k − v;  ∂v/∂t = DᵥΔv + u − v",
            modality=Modality.GRID, spatial_dims=2, fields=("activator", "inhibitor"), units=("1", "1"),
            boundary=Boundary.NEUMANN, domain=((-1.0, 1.0), (-1.0, 1.0)), dt=0.05,
            layout=RawLayout.SEED_GROUPS, raw_datasets=("data",), raw_files="2D_diff-react_NA_NA.h5",
            raw_axis_order=("y", "x"),
            has_solver=True, short="react-diff",
            law=Law.FITZHUGH_NAGUMO, constants=(("Du", 1e-3), ("Dv", 5e-3), ("k", 5e-3)),
        ),
        TaskSpec(
            name="shallow_water2d", title="Shallow water (radial dam break), 2-D",
            equation="∂h/∂t + ∇·(hv) = 0;  ∂(hv)/∂t + ∇·(hv⊗v + ½gh²) = 0",
            modality=Modality.GRID, spatial_dims=2, fields=("height",), units=("1",),
            boundary=Boundary.OUTFLOW, domain=((-2.5, 2.5), (-2.5, 2.5)), dt=0.01,
            layout=RawLayout.SEED_GROUPS, raw_datasets=("data",), raw_files="2D_rdb_NA_NA.h5",
            has_solver=True, short="shallow",
            positive=("height",),
        ),
        _compressible(1, 0.01, (-1.0, 1.0), "1D_CFD_*_periodic_Train.hdf5"),
        _compressible(2, 0.05, _UNIT, "2D_CFD_*_periodic_*Train.hdf5"),
        _compressible(3, 0.05, _UNIT, "3D_CFD_*_periodic_Train.hdf5"),
        TaskSpec(
            name="darcy2d_mesh", title="Darcy flow on triangles, 2-D", equation="−∇·(a ∇u) = β",
            modality=Modality.MESH, spatial_dims=2, fields=("u",), units=("1",),
            boundary=Boundary.DIRICHLET, domain=(_UNIT, _UNIT), dt=0.0,
            parameters=(Parameter("beta", "beta", "β"),), input_fields=("a",),
            has_solver=True, short="darcy mesh",
            positive=("u",),
        ),
        TaskSpec(
            name="particles_advect", title="Particles in a flow", equation="dx/dt = v(x, t)",
            modality=Modality.PARTICLES, spatial_dims=2, fields=("velocity_x", "velocity_y"),
            units=("1", "1"),
            boundary=Boundary.PERIODIC, domain=(_UNIT, _UNIT), dt=0.01,
            layout=RawLayout.LAGRANGE, raw_datasets=("position", "particle_type"),
            has_solver=True, short="particles", vector_fields=("velocity_x", "velocity_y"),
        ),
    )
}  # fmt: skip


def task_spec(name: str) -> TaskSpec:
    """The spec of a task.

    Raises:
        NotFoundError: no such task; the hint names the nearest one.
    """
    try:
        return TASK_SPECS[name]
    except KeyError:
        near = difflib.get_close_matches(name, TASK_SPECS, n=1)
        hint = f"did you mean {near[0]}?" if near else "`ups-console tasks` lists the 15 tasks"
        raise NotFoundError(f"there is no task {name!r}", hint=hint) from None
