"""Signs of life between machines, over a real store and as fast as a test wants them."""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta

import pytest
from torch.distributed import TCPStore

from remote.pulse import Pulse
from tests.patience import PATIENCE_S
from ups.ranks import Ranks

SILENCE_S = 0.6


class Lost:
    """Which machine was given up."""

    def __init__(self) -> None:
        self.machines: list[int] = []
        self.told = threading.Event()

    def __call__(self, machine: int, silent_s: float) -> None:
        assert silent_s > SILENCE_S
        self.machines.append(machine)
        self.told.set()


Connect = Callable[[], TCPStore]


@pytest.fixture
def connect() -> Connect:
    server = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    return lambda: TCPStore("127.0.0.1", server.port, is_master=False, timeout=timedelta(seconds=20))


def pulse(machine: int, connect: Connect, lost: Lost, *, local_rank: int = 0) -> Pulse:
    ranks = Ranks(rank=machine, world_size=2, machine=machine, machines=2, local_rank=local_rank)
    return Pulse(ranks, connect, SILENCE_S, lost)


def test_machines_that_live_are_left_alone_however_long_it_takes(connect: Connect) -> None:
    here, there = Lost(), Lost()
    with pulse(0, connect, here), pulse(1, connect, there):
        time.sleep(3 * SILENCE_S)
    assert (here.machines, there.machines) == ([], [])


def test_one_that_has_left_is_not_missed(connect: Connect) -> None:
    here = Lost()
    with pulse(0, connect, here):
        with pulse(1, connect, Lost()):
            time.sleep(SILENCE_S / 2)
        assert not here.told.wait(3 * SILENCE_S)


def test_one_that_never_spoke_is_given_up(connect: Connect) -> None:
    here = Lost()
    with pulse(0, connect, here):
        assert here.told.wait(PATIENCE_S)
    assert here.machines == [1]


def test_only_the_first_process_of_a_machine_has_a_pulse(connect: Connect) -> None:
    here, other = Lost(), Lost()
    with ExitStack() as stack:
        stack.enter_context(pulse(1, connect, other, local_rank=1))
        stack.enter_context(pulse(0, connect, here))
        assert here.told.wait(PATIENCE_S)
    assert (here.machines, other.machines) == ([1], [])


def test_a_store_that_does_not_answer_is_the_silence_of_its_machine() -> None:
    def refuse() -> TCPStore:
        raise RuntimeError("Connection refused")

    lost = Lost()
    with pulse(1, refuse, lost):
        assert lost.told.wait(PATIENCE_S)
    assert lost.machines == [0]
