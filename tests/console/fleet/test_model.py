import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.fleet.model import (
    LIVING,
    TRANSITIONS,
    IllegalTransitionError,
    InstanceState,
    Label,
    check_transition,
)


def test_every_state_has_a_row_and_every_pair_is_decided() -> None:
    assert set(TRANSITIONS) == set(InstanceState)
    for before in InstanceState:
        for after in InstanceState:
            if after in TRANSITIONS[before]:
                check_transition(before, after)
            else:
                with pytest.raises(IllegalTransitionError):
                    check_transition(before, after)


def test_whatever_may_cost_money_can_be_torn_down() -> None:
    reachable: dict[InstanceState, set[InstanceState]] = {}
    for state in InstanceState:
        seen, frontier = set(), {state}
        while frontier:
            seen |= frontier
            frontier = {after for before in frontier for after in TRANSITIONS[before]} - seen
        reachable[state] = seen
    for state in LIVING:
        assert InstanceState.DESTROYED in reachable[state], state


def test_destroyed_is_reached_only_from_stopping() -> None:
    before = {state for state, afters in TRANSITIONS.items() if InstanceState.DESTROYED in afters}
    assert before == {InstanceState.STOPPING}


@given(st.integers(min_value=0, max_value=2**40))
def test_a_label_names_its_owner_and_deadline(deadline: int) -> None:
    label = Label.new("c0ffee00", deadline)
    assert Label.parse(str(label)) == label


@given(st.text())
def test_other_labels_are_not_ours(text: str) -> None:
    parsed = Label.parse(text)
    assert parsed is None or str(parsed) == text or text.split("-")[-1].lstrip("0") == str(parsed.deadline)
