"""Pictures of pixels, as a terminal with kitty's protocol understands them."""

import numpy as np
import pytest

from console.tui.drawing.kitty import ACCENTS, CELL, KEPT, KittyPictures
from console.tui.drawing.picture import colour_table
from console.tui.drawing.text import PANEL, fit_row, row_width
from tests.console.tui.kitty_terminal import KittyTerminal

TABLE = colour_table("field")


@pytest.fixture
def terminal() -> KittyTerminal:
    return KittyTerminal()


@pytest.fixture
def pictures(terminal: KittyTerminal) -> KittyPictures:
    return KittyPictures(terminal.feed)


def number_of(rows: list[list[tuple[str, object]]]) -> int:
    (number,) = {ink[0] for row in rows for _, ink in row if isinstance(ink, tuple)}
    return number


def test_every_pixel_has_the_colour_of_its_value(terminal: KittyTerminal, pictures: KittyPictures) -> None:
    field = np.random.default_rng(0).uniform(-1, 1, (32, 48))
    rows = pictures.paint(field, 6, 2, -1, 1, TABLE)
    picture = terminal.pictures[number_of(rows)]
    assert picture.shape == (2 * CELL[1], 6 * CELL[0], 3)
    colours = TABLE[((field + 1) / 2 * 255).astype(int)]
    expected = np.stack([colours >> 16, colours >> 8, colours], -1).astype(np.uint8)
    np.testing.assert_array_equal(picture, expected)


def test_cells_name_their_row_and_column_of_the_picture(
    terminal: KittyTerminal, pictures: KittyPictures
) -> None:
    rows = pictures.paint(np.eye(8), 4, 3, 0, 1, TABLE)
    number = number_of(rows)
    assert terminal.cells[number] == (4, 3)
    for n, row in enumerate(rows):
        ((text, ink),) = row
        assert ink == (number, PANEL)
        assert [text[at : at + 3] for at in range(0, len(text), 3)] == [
            "\U0010eeee" + ACCENTS[n] + ACCENTS[column] for column in range(4)
        ]
        assert row_width(row) == 4
        assert fit_row(row, 4) == row, "it is not taken for a control character"


def test_the_first_accents_are_those_of_the_protocol() -> None:
    assert [ord(accent) for accent in ACCENTS[:8]] == [
        0x305, 0x30D, 0x30E, 0x310, 0x312, 0x33D, 0x33E, 0x33F,
    ]  # fmt: skip
    assert len(set(ACCENTS)) == len(ACCENTS)


def test_a_rollout_that_plays_again_sends_nothing(terminal: KittyTerminal, pictures: KittyPictures) -> None:
    frames = [np.full((4, 4), n / 10) for n in range(10)]
    first = [pictures.paint(frame, 2, 2, 0, 1, TABLE) for frame in frames]
    assert terminal.sent == 10
    assert [pictures.paint(frame, 2, 2, 0, 1, TABLE) for frame in frames] == first
    assert terminal.sent == 10
    assert number_of(pictures.paint(frames[0], 4, 1, 0, 1, TABLE)) != number_of(first[0]), "another size"


def test_the_terminal_keeps_so_many_pictures_and_in_the_end_none(
    terminal: KittyTerminal, pictures: KittyPictures
) -> None:
    rng = np.random.default_rng(0)
    drawn = [number_of(pictures.paint(rng.uniform(size=(4, 4)), 1, 1, 0, 1, TABLE)) for _ in range(KEPT + 5)]
    assert list(terminal.pictures) == drawn[5:]
    pictures.remove_all()
    assert terminal.pictures == {}


def test_a_picture_wider_than_the_protocol_can_name_is_cut_short(pictures: KittyPictures) -> None:
    (row,) = pictures.paint(np.eye(4), len(ACCENTS) + 7, 1, 0, 1, TABLE)
    assert row_width(row) == len(ACCENTS)


def test_nan_and_a_field_without_a_range_are_drawn(pictures: KittyPictures) -> None:
    assert pictures.paint(np.full((4, 4), np.nan), 2, 1, 0.0, 0.0, TABLE)
