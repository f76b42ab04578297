"""What the machine of a run did over time, in bounded memory: each figure of its `system` events."""

from array import array
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from console.runs.columns import TrackColumns
from console.runs.track import Track

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_CAPACITY = 4096
"""Rows kept, then neighbours are joined; at one every 2 s more than two hours as they were."""
_MOST_GPUS = 64

_OF_GPU: "dict[str, Callable[[Mapping[str, Any]], object]]" = {
    "util": lambda gpu: gpu.get("util"),
    "memory": lambda gpu: gpu.get("mem_used"),
    "power": lambda gpu: gpu.get("power"),
    "temp": lambda gpu: gpu.get("temp"),
}
_OF_MACHINE = ("cpu", "ram", "disk_free", "net_recv", "net_sent")


class SystemTrack:
    """The figures of all GPUs, the processor, memory, disk and network."""

    def __init__(self) -> None:
        self._track = Track(_CAPACITY)
        self.gpus = 0
        """As many as any event named."""

    def __len__(self) -> int:
        return len(self._track)

    def take_in(self, t: float, fields: Mapping[str, Any]) -> None:
        """Keep what a `system` event says; what is no number is left out."""
        figures: dict[str, float | None] = {}
        gpus = fields.get("gpu")
        for index, gpu in enumerate(gpus[:_MOST_GPUS] if isinstance(gpus, list) else ()):
            self.gpus = max(self.gpus, index + 1)
            if isinstance(gpu, Mapping):
                figures |= {_key(name, index): _known(read(gpu)) for name, read in _OF_GPU.items()}
        figures |= {name: _known(fields.get(name)) for name in _OF_MACHINE}
        told = {name: value for name, value in figures.items() if value is not None}
        if told:
            at, columns = array("d", [t]), {name: array("d", [value]) for name, value in told.items()}
            self._track.extend(TrackColumns(at, array("d", [0.0]), at, "", columns, {}), {"": 0})

    @property
    def times(self) -> "Array":
        """[n] Unix seconds."""
        return self._track.times

    def lines(self, name: str) -> "dict[int, tuple[Array, Array, Array]]":
        """A figure over time: GPU, or 0 where it is the machine's → ([n] mean, [n] least, [n] greatest)."""
        rows, found = len(self._track), {}
        for index in range(self.gpus) if name in _OF_GPU else (0,):
            value = self._track.values.get(_key(name, index) if name in _OF_GPU else name)
            if value is not None:
                found[index] = value.mean[:rows], value.low[:rows], value.high[:rows]
        return found


def _key(name: str, gpu: int) -> str:
    return f"{name}/{gpu}"


def _known(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and value == value else None  # type: ignore[arg-type]
