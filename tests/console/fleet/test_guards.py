"""What a user is told, before paying, about who ends an instance."""

from pathlib import Path

import pytest

from console.api import Level
from console.fleet.guards import guard_checks, guards_of, unbounded_words
from console.fleet.providers.base import Capabilities
from console.fleet.providers.local import LocalProvider
from console.fleet.providers.vultr import VultrProvider
from console.tui.widgets.preflight import check_rows


def test_where_nothing_on_the_box_can_end_it_that_is_said_in_red_and_does_not_forbid() -> None:
    (check,) = guard_checks(VultrProvider.capabilities)
    assert check.level is Level.DANGER
    assert "nothing stops it" in check.text
    assert "--labels-only" in check.hint
    red = [text for row in check_rows((check,), 200, 10) for text, ink in row if ink == "bad"]
    assert "nothing stops it" in " ".join("".join(red).split())


def test_where_the_box_ends_itself_nothing_is_unbounded() -> None:
    capabilities = Capabilities(rented=True, box_api="https://console.vast.ai")
    assert unbounded_words(capabilities) == ""
    (check,) = guard_checks(capabilities)
    assert check.level is Level.OK
    assert check.text.startswith("3 guards")


def test_this_machine_is_free_and_needs_no_word(tmp_path: Path) -> None:
    assert list(guard_checks(LocalProvider(tmp_path).capabilities)) == []


@pytest.mark.parametrize("watching", [True, False])
def test_a_guard_that_does_not_run_is_not_counted_on(watching: bool) -> None:
    (line,) = [g for g in guards_of(VultrProvider.capabilities, watched=watching) if "watch`" in g]
    assert ("does not run" in line) is not watching


def test_who_can_only_switch_it_off_is_said_to_let_it_cost() -> None:
    guards = " ".join(guards_of(Capabilities(rented=True), watched=True))
    assert "switch it off" in guards
    assert "full price" in guards
