"""What is wrong with a task's curves, judged from the curves themselves.

The box warns of plateaus and divergence too; runs that were recorded before it did are judged the same way.
"""

import math
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from ups.evaluation.validation_curves import Point, has_blown_up, has_levelled_off
from ups.plateau import DEFAULT, PlateauRule

if TYPE_CHECKING:
    import numpy as np

    from console.runs.series import Curve
    from console.tui.series import Series

    Array = np.ndarray[Any, Any]

_FAR = 10.0
"""A training loss so many times its best average has diverged."""
_LATELY = 5
"""Points whose middle one is compared, so that one spike is no alarm."""
_FEW = 20
"""Below so many points there is no best average to compare with."""


class Alert(StrEnum):
    """What a chart's title says, the worst first."""

    DIVERGED = "diverged"
    NO_SKILL = "no skill"
    PLATEAU = "plateau"

    @property
    def severity(self) -> int:
        """The greater the worse."""
        alerts = list(Alert)
        return len(alerts) - alerts.index(self)

    @property
    def words(self) -> str:
        """For people who do not know the title's word."""
        return {
            Alert.DIVERGED: "diverged", Alert.NO_SKILL: "worse than copying", Alert.PLATEAU: "on a plateau",
        }[self]  # fmt: skip

    @property
    def ink(self) -> str:
        """Red is for divergence alone."""
        return "bad" if self is Alert.DIVERGED else "warn"


def judge(
    train: "Series | None", *, train_is_finite: bool, val: "Curve | None", level: float | None,
    plateaus: Iterable[float] = (), rule: PlateauRule = DEFAULT,
) -> Alert | None:  # fmt: skip
    """The worst that can be said of a task.

    Args:
        train: its training loss.
        train_is_finite: whether the newest loss that was told is a number.
        val: its validation error by epoch.
        level: the error of copying the last state.
        plateaus: when the box warned that the task had levelled off, in Unix seconds.
        rule: when a validation has levelled off.
    """
    points = summary(val, rule) if val is not None else []
    if not train_is_finite or has_blown_up(points) or _is_far_off(train):
        return Alert.DIVERGED
    if points and level is not None and (points[-1].nrmse or math.inf) >= level and len(val or ()) > 1:
        return Alert.NO_SKILL
    if has_levelled_off(points, rule) or any(_still_level(val, since, rule) for since in plateaus):
        return Alert.PLATEAU
    return None


def summary(val: "Curve", rule: PlateauRule) -> Sequence[Point]:
    """At most three points that the rules judge as they would judge all of the last stage's.

    They are the best up to where the rule looks back to, the best since then, and the last.
    """
    import numpy as np

    if not len(val):
        return []
    own = val.stages == val.stages[-1]
    epochs, values = val.epochs[own], val.values[own]
    end = float(epochs[-1])
    before = epochs <= end - rule.epochs
    points = [
        Point(at, float(np.nanmin(chosen)))
        for at, chosen in ((end - rule.epochs, values[before]), (end, values[~before]))
        if np.isfinite(chosen).any()
    ]
    last = float(values[-1])
    return [*points, Point(end, last if math.isfinite(last) else None)]


def _still_level(val: "Curve | None", since: float, rule: PlateauRule) -> bool:
    """Whether the validation has not become better since the box warned of it."""
    import numpy as np

    if val is None or not len(val):
        return True
    later = val.times > since
    best, best_later = (np.fmin.reduce(val.values[part], initial=np.inf) for part in (~later, later))
    return bool(best_later > best * (1 - rule.improvement))


def _is_far_off(train: "Series | None") -> bool:
    import numpy as np

    if train is None or len(train) < _FEW:
        return False
    lately = train.y[-_LATELY:]
    lately = lately[np.isfinite(lately)]
    best = train.least_average
    return len(lately) > 0 and best is not None and best > 0 and _median(lately) > _FAR * best


def _median(values: "Array") -> float:
    """Of at least one; `np.median` would load masked arrays, and the first chart waits for it."""
    import numpy as np

    ordered, middle = np.sort(values), len(values) // 2
    return float(ordered[middle] + ordered[~middle]) / 2
