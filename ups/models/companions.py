"""What is trained beside a finished operator, and how a checkpoint holds it.

A checkpoint of the later stages is whole: the operator's weights, which no longer change, are in it too.
"""

from torch import nn

from ups.models.checkpoint import AVERAGE_FILE, MODEL_FILE, Checkpoint, load_weights
from ups.models.corrector import CorrectedOperator, Corrector, CorrectorSpec
from ups.models.critic import Critic
from ups.models.operator import LatentOperator
from ups.models.spec import OperatorSpec

COMPANIONS_FILE = "companions.safetensors"
COMPANIONS_AVERAGE_FILE = "companions_ema.safetensors"
TEACHER_FILE = "teacher.safetensors"
"""The corrector that the one in `COMPANIONS_FILE` is distilled from, where it is."""


class Companions(nn.Module):
    """The corrector of an operator's residual, and the critic of its candidates."""

    def __init__(self, spec: CorrectorSpec, operator: OperatorSpec) -> None:
        super().__init__()
        self.corrector = Corrector(spec, operator)
        self.critic = Critic(operator)


def operator_of(found: Checkpoint) -> LatentOperator:
    """The operator of a checkpoint, with the weights that its validation found better."""
    model = LatentOperator(OperatorSpec.from_json(found.state["operator"]))
    load_weights(model, found, _operator_file(found))
    return model


def companions_of(found: Checkpoint) -> Companions | None:
    """The companions in a checkpoint, with the weights that its validation found better, or None."""
    if "corrector" not in found.state:
        return None
    operator = OperatorSpec.from_json(found.state["operator"])
    module = Companions(CorrectorSpec.from_json(found.state["corrector"]), operator)
    averaged = found.state["use_ema"] and COMPANIONS_AVERAGE_FILE in found.state["files"]
    load_weights(module, found, COMPANIONS_AVERAGE_FILE if averaged else COMPANIONS_FILE)
    return module


def model_of(found: Checkpoint) -> LatentOperator | CorrectedOperator:
    """What a checkpoint predicts with: its operator, corrected where it holds a corrector."""
    operator, companions = operator_of(found), companions_of(found)
    return operator if companions is None else CorrectedOperator(operator, companions.corrector)


def operator_sha256(found: Checkpoint) -> str:
    """Hash of the operator weights that the checkpoint predicts with."""
    return str(found.state["files"][_operator_file(found)]["sha256"])


def _operator_file(found: Checkpoint) -> str:
    averaged = found.state["use_ema"] and AVERAGE_FILE in found.state["files"]
    return AVERAGE_FILE if averaged else MODEL_FILE
