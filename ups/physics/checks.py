"""The checks that a prediction can be put to, as one table: for reports, rewards and losses alike."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from torch import Tensor

from ups.physics.boundary import boundary_violation, has_boundary
from ups.physics.conservation import conservation_gap, conserves
from ups.physics.divergence import divergence, is_divergence_free
from ups.physics.positivity import has_positive, negativity
from ups.physics.residual import equation_residual, has_residual
from ups.physics.transition import Transition
from ups.tasks import TaskSpec


@dataclass(frozen=True, slots=True)
class Check:
    """A dimensionless measure of how far a step is from what its equation guarantees."""

    applies: Callable[[TaskSpec], bool]
    """Whether the task has what is measured; else `measure` gives None."""
    measure: Callable[[Transition], Tensor | None]
    """[B], 0 where the guarantee holds; differentiable in the state after the step."""


CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        "conservation_gap": Check(conserves, conservation_gap),
        "boundary_violation": Check(has_boundary, boundary_violation),
        "negativity": Check(has_positive, negativity),
        "divergence": Check(is_divergence_free, divergence),
        "equation_residual": Check(has_residual, equation_residual),
    }
)
