"""The course of a run: its stages in order, and what each is held against.

A stage after the operator's is followed by its control: the operator, continued with as much compute as
the stage has used. The controls go on from one another, as the stages do. Free of torch.
"""

from collections.abc import Iterable

from ups.config import STAGES, StageName

FIRST: StageName = "operator"
_CONTROL = "_control"


def control_of(stage: str) -> str:
    """The name of the control of a stage after the operator's."""
    return f"{stage}{_CONTROL}"


def controlled_by(name: str) -> str | None:
    """The stage that a control belongs to; None: `name` is no control."""
    return name.removesuffix(_CONTROL) if name.endswith(_CONTROL) else None


def course(stages: Iterable[str]) -> tuple[str, ...]:
    """What is trained, in order, in a run that has these stages; the operator's is always among them."""
    wanted = {FIRST, *stages}
    return tuple(
        name
        for stage in STAGES
        if stage in wanted
        for name in ((stage,) if stage == FIRST else (stage, control_of(stage)))
    )


COURSE = course(STAGES)
"""Everything that can be trained, in order."""
