"""A micro-batch on the device, and the moment of training at which it is used."""

from dataclasses import dataclass, replace

from torch import Tensor

from ups.models.geometry import Geometry
from ups.tasks import TaskSpec


@dataclass(frozen=True, slots=True)
class TensorBatch:
    """A batch on the device, augmented."""

    spec: TaskSpec
    """The task, on the domain of the data."""
    inputs: Tensor
    """[B, *S, Ci]."""
    targets: Tensor
    """[B, K, *S, C], the K states after the inputs; K = 1 for static tasks."""
    parameters: Tensor
    """[B, P]."""
    dt: Tensor
    """[B]."""
    stride: Tensor
    """[B] as floats."""
    geometry: Geometry | None = None
    """The points, of a task on a mesh or on particles."""

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def task(self) -> str:
        return self.spec.name

    def part(self, first: int, end: int) -> "TensorBatch":
        """Its samples from `first` to before `end`."""
        rows = slice(first, end)
        return replace(
            self, inputs=self.inputs[rows], targets=self.targets[rows], parameters=self.parameters[rows],
            dt=self.dt[rows], stride=self.stride[rows],
            geometry=None if self.geometry is None else self.geometry.rows(rows),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Moment:
    """When in a stage a loss is computed."""

    epoch: float = 0.0
    """Epochs done, with the fraction of the current one."""
    step: int = 0
    """Optimizer steps done."""
