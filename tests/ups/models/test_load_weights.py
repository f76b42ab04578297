"""Weights of another architecture are refused by the keys that differ."""

from pathlib import Path

import pytest
from torch import nn

from ups.errors import TrainingError
from ups.models import checkpoint as checkpoints


def test_weights_of_another_architecture_name_the_keys_that_differ(tmp_path: Path) -> None:
    written = checkpoints.write(
        tmp_path, "operator", 1, {"model.safetensors": nn.Linear(2, 3, bias=False).state_dict()}, {}
    )
    with pytest.raises(TrainingError, match=r"bias is missing; weight is \[3, 2\], wanted \[4, 2\]"):
        checkpoints.load_weights(nn.Linear(2, 4), written, "model.safetensors")
