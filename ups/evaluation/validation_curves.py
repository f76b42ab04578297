"""The validation curves of a run's operator stage, from its events. Free of torch.

A plateau is judged on them; a run that was resumed has them in several files.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ups.events import Event, EventType, decode_lines, lines_holding

if TYPE_CHECKING:
    from ups.config import Plateau
    from ups.plateau import PlateauRule

BLOWN_UP = 2.0
"""A validation that ends at so many times its best has blown up."""


class Point(NamedTuple):
    """One validation of one task."""

    epoch: float
    nrmse: float | None
    """None: not finite."""


Curves = Mapping[str, Sequence[Point]]
"""task → its validations in their order."""


def read(paths: Iterable[Path]) -> dict[str, list[Point]]:
    """The curves of a run whose attempts wrote these events.jsonl; {} where there are none."""
    curves: dict[str, list[Point]] = {}
    for path in paths:
        for event in _validations(path):
            task, epoch = event.fields.get("task"), event.fields.get("epoch")
            if task is None or not isinstance(epoch, int | float):
                continue
            value = (event.fields.get("values") or {}).get("nrmse")
            curve = curves.setdefault(str(task), [])
            while curve and curve[-1].epoch >= epoch:  # done again, after a resume
                curve.pop()
            curve.append(Point(float(epoch), float(value) if isinstance(value, int | float) else None))
    return curves


def _validations(path: Path) -> Iterator[Event]:
    with suppress(OSError):
        for event in decode_lines(lines_holding(path, [b'"val"'])):
            if event.type != EventType.METRIC:
                continue
            if (event.fields.get("split"), event.fields.get("stage")) == ("val", "operator"):
                yield event


def has_levelled_off(curve: Sequence[Point], rule: "Plateau | PlateauRule") -> bool | None:
    """Whether the last epochs brought no more; None where the curve is too short to tell."""
    if not curve:
        return None
    start = curve[-1].epoch - rule.epochs
    before = [point.nrmse for point in curve if point.epoch <= start and point.nrmse is not None]
    last = [point.nrmse for point in curve if point.epoch > start and point.nrmse is not None]
    if not before or not last:
        return None
    return min(last) > min(before) * (1 - rule.improvement)


def has_blown_up(curve: Sequence[Point]) -> bool:
    """Whether it ends far above its best, or at no number."""
    known = [point.nrmse for point in curve if point.nrmse is not None]
    if not curve:
        return False
    last = curve[-1].nrmse
    return last is None or last > BLOWN_UP * min(known)
