"""What is known of a split before its file is here, from the dataset's manifest: sizes, no values.

That is enough to count an epoch and to build a model, so that training can begin on some tasks while
the others are still on their way. The file, once it is here, has to be what its outline says.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ups.data.fields import Fields
from ups.data.split import Split
from ups.tasks import task_spec


@dataclass(frozen=True, slots=True)
class Outline:
    """The sizes of one split of a task."""

    task: str
    samples: int
    frames: int
    """Stored frames of a sample; 1 of a static task."""
    extent: tuple[int, ...]
    """Cells along each axis of a grid; on points, those of the largest sample alone."""
    dt: float
    """Time between stored frames; 0 of a static task."""

    @classmethod
    def of(cls, fields: Split) -> "Outline":
        """Of an open file."""
        spec = fields.spec
        if isinstance(fields, Fields):
            frames = 1 if fields.states is None else fields.states.shape[1]
            return cls(spec.name, fields.samples, frames, tuple(fields.grid), fields.dt)
        frames = 1 if spec.static else fields.frames
        return cls(spec.name, fields.samples, frames, (fields.most_points,), fields.dt)

    @classmethod
    def from_shape(cls, task: str, shape: Sequence[int], dt: float) -> "Outline":
        """From the shape that a manifest states: [N, T, *S, C], or [N, *S, C] of a static task."""
        if task_spec(task).static:
            return cls(task, shape[0], 1, tuple(shape[1:-1]), dt)
        return cls(task, shape[0], shape[1], tuple(shape[2:-1]), dt)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Outline":
        """What `dataclasses.asdict` made of one."""
        return cls(**{**content, "extent": tuple(content["extent"])})

    def pairs(self, stride: int) -> int:
        """Training pairs of states `stride` frames apart; the samples of a static task."""
        starts = 1 if task_spec(self.task).static else max(self.frames - stride, 0)
        return self.samples * starts
