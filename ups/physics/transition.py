"""One step of a task, true or predicted: what every check looks at."""

from dataclasses import dataclass

from torch import Tensor

from ups.tasks import TaskSpec

TINY = 1e-12
"""Keeps a scale of 0 from dividing by it."""


@dataclass(frozen=True, slots=True, eq=False)
class Transition:
    """A step from one state to the next, in physical units."""

    spec: TaskSpec
    before: Tensor
    """[B, *S, C]; of a static task its input [B, *S, Ci]."""
    after: Tensor
    """[B, *S, C], the state that is checked."""
    parameters: Tensor
    """[B, P] in the order of `spec.parameters`."""
    dt: Tensor
    """[B]; 0 for static tasks."""

    def parameter(self, name: str) -> Tensor:
        """[B] values of a parameter."""
        return self.parameters[:, self.spec.parameter_column(name)]


def root_mean_square(values: Tensor) -> Tensor:
    """Over all axes but the first: [B, …] → [B]."""
    return root(values.flatten(1).square().mean(dim=1))


def root(squares: Tensor) -> Tensor:
    """√ of values ≥ 0, but with the gradient 0 at 0 instead of an infinite one."""
    return (squares + TINY**2).sqrt() - TINY


def scale(field: Tensor) -> Tensor:
    """What makes a measure dimensionless: the root mean square [B] of a field, without a gradient.

    With a gradient a loss could be made small by making the scale large.
    """
    return root_mean_square(field.detach()).clamp_min(TINY)
