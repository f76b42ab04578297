"""One true curve per task: each point is the mean over that task's own samples since its last point."""

from collections.abc import Mapping

from ups.events import EventType
from ups.training.job import EventSink


class TaskCurves:
    """Collects losses per task and writes them as `metric` events."""

    def __init__(self, stage: str, sink: EventSink) -> None:
        self._stage, self._sink = stage, sink
        self._losses: dict[str, dict[str, tuple[float, int]]] = {}
        self._counts: dict[str, int] = {}
        self._epoch_counts: dict[str, int] = {}

    def start_epoch(self) -> None:
        """Shares are counted per epoch."""
        self._epoch_counts = {}

    def add(self, task: str, samples: int, losses: Mapping[str, float]) -> None:
        """Count a micro-batch's mean losses, by name, for its task; `loss` is their weighted sum."""
        sums = self._losses.setdefault(task, {})
        for name, value in losses.items():
            total, count = sums.get(name, (0.0, 0))
            sums[name] = total + value * samples, count + samples
        self._counts[task] = self._counts.get(task, 0) + samples
        self._epoch_counts[task] = self._epoch_counts.get(task, 0) + samples

    def write(self, *, epoch: int, step: int, rate: float, grad_norm: float) -> None:
        """Write a point for each task that had samples since its last one."""
        total = sum(self._epoch_counts.values())
        for task in self._counts:
            values = {
                **{name: value / count for name, (value, count) in self._losses[task].items()},
                "lr": rate, "grad_norm": grad_norm, "share": self._epoch_counts[task] / total,
            }  # fmt: skip
            self._sink.write(
                EventType.METRIC,
                stage=self._stage,
                epoch=epoch,
                step=step,
                task=task,
                split="train",
                values=values,
            )
        self._losses, self._counts = {}, {}
