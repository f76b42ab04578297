"""What a user sees of the fleet between two questions to the providers."""

import time
from pathlib import Path

import pytest

from console.fleet.model import InstanceState, Label
from console.home import Home
from console.operations import Operations
from tests.simulators.vast import VastSimulator

pytestmark = pytest.mark.needs_module("vastai")


def rented(operations: Operations) -> str:
    """A row of the ledger that was just created."""
    label = Label.new(operations.ledger.console_id, time.time() + 3600)
    operations.ledger.intend(
        label, provider="vast", what="RTX 4090 ×1", usd_per_hour=0.3, cap_usd=1.0, keep=False,
        run="1130-abcd", attempt=1,
    )  # fmt: skip
    operations.ledger.move(str(label), InstanceState.REQUESTED, "test")
    return str(label)


def test_what_was_rented_since_the_providers_were_asked_is_shown_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with VastSimulator() as vast:
        monkeypatch.setenv("VAST_API_KEY", vast.api_key)
        monkeypatch.setenv("VAST_URL", vast.url)
        operations = Operations(Home(tmp_path))
        assert operations.fleet_state().instances == ()
        asked = len(vast.sent("list"))
        label = rented(operations)
        operations.ledger.move(label, InstanceState.STARTING, "created", provider_id="18042")

        (row,) = operations.fleet_state(oldest_s=60.0).instances

        assert (row.label, row.state, row.instance) == (label, InstanceState.STARTING, "18042")
        assert len(vast.sent("list")) == asked


def test_a_provider_that_is_down_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with VastSimulator() as vast:
        monkeypatch.setenv("VAST_API_KEY", vast.api_key)
        monkeypatch.setenv("VAST_URL", vast.url)
        operations = Operations(Home(tmp_path))
        label = rented(operations)
        vast.faults.on("list", 403)

        state = operations.fleet_state()

        assert [row.label for row in state.instances] == [label]
        (problem,) = state.problems
        assert problem.provider == "vast"
