"""Whether the terminal's background is light, as far as it tells in time."""

import os
import pty
import tty
from collections.abc import Iterator

import pytest

from console.terminal_background import Asked

QUESTION = b"\x1b]11;?\x07\x1b[c"
KIND = b"\x1b[?62;22c"


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """The terminal's side and the program's."""
    outside, inside = pty.openpty()
    tty.setraw(inside)
    yield outside, inside
    os.close(outside)
    os.close(inside)


def asked(terminal: tuple[int, int], answer: bytes) -> Asked:
    outside, inside = terminal
    found = Asked(inside)
    found.ask()
    assert os.read(outside, 100) == QUESTION
    os.write(outside, answer)
    return found


@pytest.mark.parametrize(
    ("answer", "light"),
    [
        (b"\x1b]11;rgb:ffff/ffff/ffff\x1b\\" + KIND, True),
        (b"\x1b]11;rgb:ee/ee/e0\x07" + KIND, True),
        (b"\x1b]11;rgba:0000/1111/2222/ffff\x07" + KIND, False),
        (KIND, None),
        (b"\x1b]11;rgb:zz/zz/zz\x07" + KIND, None),
    ],
)
def test_the_answer_is_read(terminal: tuple[int, int], answer: bytes, light: bool | None) -> None:
    found = asked(terminal, answer)
    assert found.is_light() is light


def test_a_terminal_that_has_not_answered_is_not_waited_for(terminal: tuple[int, int]) -> None:
    assert asked(terminal, b"").is_light() is None


def test_keys_pressed_meanwhile_are_kept(terminal: tuple[int, int]) -> None:
    found = asked(terminal, b"2\x1b]11;rgb:ffff/ffff/ffff\x07j" + KIND)
    assert found.is_light() is True
    assert found.typed == "2j"
