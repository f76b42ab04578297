"""Which pairs are drawn, and whose turn it is."""

from pathlib import Path

import numpy as np

from tests.ups.converted import write_advection, write_converted, write_darcy
from ups.data.fields import Fields
from ups.data.sampling import Pairs, PairSampler, TaskRotation


def test_pairs_are_states_a_stride_apart(tmp_path: Path) -> None:
    fields = Fields.open(write_advection(tmp_path)["train"])
    pairs = Pairs(fields, stride=2)
    assert len(pairs) == 8 * 7
    batch = pairs.take(np.array([3, 5]), np.array([0, 6]))
    assert fields.states is not None
    np.testing.assert_array_equal(batch.inputs[1], fields.states[5, 6])
    np.testing.assert_array_equal(batch.targets[1, 0], fields.states[5, 8])
    assert batch.dt == 0.1


def test_static_pairs_are_input_and_answer_whatever_the_stride(tmp_path: Path) -> None:
    fields = Fields.open(write_darcy(tmp_path)["train"])
    pairs = Pairs(fields, stride=3)
    assert len(pairs) == 12
    batch = PairSampler(pairs, hard_share=0.7).draw(4, np.random.default_rng(0))
    assert fields.targets is not None
    np.testing.assert_array_equal(batch.targets[:, 0], fields.targets[batch.samples])


def test_hard_share_is_drawn_in_proportion_to_the_relative_change(tmp_path: Path) -> None:
    states = np.ones((2, 11, 8, 1))
    states[1, 5:] = 3.0  # the only pair that changes
    path = write_converted(
        tmp_path / "a.h5", "advection1d", "train", {"states": states}, np.ones((2, 1)), dt=1.0
    )
    pairs = Pairs(Fields.open(path))
    changes = pairs.changes()
    assert changes is not None
    assert changes.nonzero()[0].tolist() == [14]
    assert changes[14] == np.float32(2 / 3)
    batch = PairSampler(pairs, hard_share=0.7).draw(100, np.random.default_rng(0))
    assert ((batch.samples == 1) & (batch.frames == 4)).sum() >= 70


def test_same_stream_draws_the_same(tmp_path: Path) -> None:
    sampler = PairSampler(Pairs(Fields.open(write_advection(tmp_path)["train"])), hard_share=0.7)
    first, again = (sampler.draw(8, np.random.default_rng(4)) for _ in range(2))
    np.testing.assert_array_equal(first.samples, again.samples)
    np.testing.assert_array_equal(first.frames, again.frames)


def test_tasks_keep_to_their_shares_at_every_moment() -> None:
    rotation, drawn = TaskRotation("abc"), {"a": 0, "b": 0, "c": 0}
    shares, sizes = {"a": 1.0, "b": 2.0, "c": 1.0}, {"a": 4, "b": 4, "c": 16}
    for _ in range(200):
        task = rotation.next(shares, sizes)
        drawn[task] += sizes[task]
        total = sum(drawn.values())
        assert all(abs(drawn[name] - total * shares[name] / 4) <= 2 * 16 for name in drawn)


def test_task_that_takes_no_part_is_not_drawn() -> None:
    rotation = TaskRotation("ab")
    assert {rotation.next({"b": 1.0}, {"a": 4, "b": 4}) for _ in range(5)} == {"b"}
