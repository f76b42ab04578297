from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from console.errors import HostKeyChangedError, LoginError, ProviderError, UnreachableError
from console.fleet.model import SshAddress
from console.runs.ssh import SshTransport
from console.runs.ssh_wait import wait_for_ssh
from tests.console.runs.sshd import Door
from tests.console.runs.sshd import door as door

pytestmark = pytest.mark.needs_program("sshd")


class Clock:
    """Time that passes only when somebody sleeps; things happen at their second."""

    def __init__(self) -> None:
        self.now = 100.0
        self._plans: list[tuple[float, Callable[[], object]]] = []

    def at(self, seconds: float, what: Callable[[], object]) -> None:
        self._plans.append((100.0 + seconds, what))

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        due = [plan for plan in self._plans if plan[0] <= self.now]
        self._plans = [plan for plan in self._plans if plan[0] > self.now]
        for _, what in due:
            what()


def waiting(
    door: Door,
    clock: Clock,
    address_of: Callable[[], tuple[SshAddress | None, str]],
    timeout_s: float = 600.0,
) -> Generator[str, None, SshTransport]:
    return wait_for_ssh(
        address_of,
        lambda _: door.transport(),
        timeout_s=timeout_s,
        login_patience_s=60.0,
        clock=clock,
        sleep=clock.sleep,
    )


def finish(steps: Generator[str, None, SshTransport]) -> tuple[list[str], SshTransport]:
    reasons = []
    while True:
        try:
            reasons.append(next(steps))
        except StopIteration as end:
            return reasons, end.value


def test_each_reason_for_waiting_is_told_once_until_the_box_lets_us_in(door: Door) -> None:
    clock = Clock()
    public = (door.folder / "key.pub").read_text()
    door.server.forbid_all()
    door.server.refuse()
    status: list[tuple[SshAddress | None, str]] = [(None, "")]
    clock.at(10, lambda: status.append((None, "loading image")))
    clock.at(20, lambda: status.append((door.server.address, "running")))
    clock.at(30, door.server.start)
    clock.at(50, lambda: door.server.authorize(public))
    reasons, transport = finish(waiting(door, clock, lambda: status[-1]))
    place = f"127.0.0.1:{door.server.port}"
    assert reasons[:3] == [
        "the provider gives no address yet",
        "the provider says: loading image",
        f"connection refused at {place}",
    ]
    assert reasons[3].startswith(f"key not accepted yet: {place} does not accept the key")
    assert len(reasons) == 4
    transport.put(b"x", "file")
    assert door.server.log.count("Accepted publickey") == 1


def test_a_key_that_is_refused_for_too_long_is_given_up(door: Door) -> None:
    clock = Clock()
    door.server.forbid_all()
    with pytest.raises(LoginError, match="does not accept the key"):
        finish(waiting(door, clock, lambda: (door.server.address, "running")))
    assert 60 <= clock.now - 100 < 65


def test_a_box_that_never_comes_up_is_given_up_with_the_last_reason(door: Door) -> None:
    clock = Clock()
    with pytest.raises(UnreachableError, match="within 600 s: the provider says: loading image"):
        finish(waiting(door, clock, lambda: (None, "loading image")))
    assert 595 <= clock.now - 100 <= 600


def test_another_machine_at_the_address_is_given_up_at_once(door: Door, tmp_path: Path) -> None:
    clock = Clock()
    door.transport().open()
    door.server.change_host_key()
    with pytest.raises(HostKeyChangedError):
        finish(waiting(door, clock, lambda: (door.server.address, "running")))
    assert clock.now == 100


def test_a_provider_that_fails_for_a_moment_is_asked_again(door: Door) -> None:
    answers: list[ProviderError | None] = [None, ProviderError("the provider answers 502")]

    def address_of() -> tuple[SshAddress | None, str]:
        answer = answers.pop()
        if answer is not None:
            raise answer
        return door.server.address, "running"

    reasons, _ = finish(waiting(door, Clock(), address_of))
    assert reasons == ["the provider answers 502"]
