"""What each task's equation guarantees, in one place.

Augmentation, symmetric averaging, inference guards, losses, rewards, reports and solver tests all ask
here, so that none of them can disagree. Everything follows from the `TaskSpec`; no task is named.
Fields are `[B, *S, C]` in physical units, with one axis per spatial dimension.
"""

from ups.physics.boundary import boundary_violation, has_boundary
from ups.physics.checks import CHECKS, Check
from ups.physics.conservation import conservation_gap, conserves, restore_mean, spatial_mean
from ups.physics.divergence import divergence, is_divergence_free
from ups.physics.positivity import has_positive, negativity
from ups.physics.residual import equation_residual, has_residual
from ups.physics.symmetry import Symmetry, shift_cells, symmetries, vector_channels
from ups.physics.transition import Transition

__all__ = [
    "CHECKS",
    "Check",
    "Symmetry",
    "Transition",
    "boundary_violation",
    "conservation_gap",
    "conserves",
    "divergence",
    "equation_residual",
    "has_boundary",
    "has_positive",
    "has_residual",
    "is_divergence_free",
    "negativity",
    "restore_mean",
    "shift_cells",
    "spatial_mean",
    "symmetries",
    "vector_channels",
]
