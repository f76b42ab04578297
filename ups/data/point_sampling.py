"""Training pairs on meshes and particles: padded to the largest sample of a batch, with their neighbours.

Free of torch.
"""

import numpy as np
from numpy.typing import NDArray

from ups.data.geometry import padded
from ups.data.point_fields import PointFields
from ups.data.sampling import Batch, relative_changes

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


class PointPairs:
    """All (state, next state) pairs of a file at one stride, or the pairs of a static task."""

    def __init__(self, fields: PointFields, *, stride: int = 1) -> None:
        self.fields = fields
        self.stride = 1 if fields.spec.static else stride
        self.starts = 1 if fields.spec.static else fields.frames - self.stride

    def __len__(self) -> int:
        return self.fields.samples * max(self.starts, 0)

    def most_steps(self, wanted: int) -> int:
        """How many steps a window can have: as many as wanted, where the trajectories are long enough."""
        return 1 if self.fields.spec.static else min(wanted, (self.fields.frames - 1) // self.stride)

    def take(self, samples: Integers, frames: Integers, steps: int = 1) -> Batch:
        """The windows of `steps` steps that start at these frames of these trajectories."""
        fields = self.fields
        inputs, targets = [], []
        for row, frame in zip(samples, frames, strict=True):
            points = fields.points(int(row))
            if fields.states is not None:
                window = fields.states[points, frame : frame + steps * self.stride + 1 : self.stride]
                inputs.append(window[:, 0])
                targets.append(window[:, 1:])
            else:
                assert fields.inputs is not None
                assert fields.targets is not None
                inputs.append(fields.inputs[points])
                targets.append(fields.targets[points][:, None])
        most = max(map(len, inputs))
        return Batch(
            fields.spec, padded(inputs, most), np.moveaxis(padded(targets, most), 2, 1),
            np.asarray(fields.parameters[samples]), fields.dt * self.stride, self.stride, samples, frames,
            fields.geometry(samples, frames),
        )  # fmt: skip

    def changes(self) -> Floats | None:
        """Relative change of each pair [N · starts]; None for static tasks. Reads the file once."""
        states = self.fields.states
        if states is None:
            return None
        changes = []
        for row in range(self.fields.samples):
            own = np.moveaxis(states[self.fields.points(row)], 1, 0)
            changes.append(relative_changes(own.reshape(self.fields.frames, -1), self.stride))
        return np.concatenate(changes)
