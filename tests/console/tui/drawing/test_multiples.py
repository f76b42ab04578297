import pytest

from console.tui.drawing.multiples import multiples


@pytest.mark.parametrize(
    ("charts", "size", "columns", "per_page", "pages"),
    [
        (1, (120, 21), 1, 1, 1),
        (2, (120, 21), 2, 2, 1),
        (4, (120, 21), 2, 4, 1),
        (9, (120, 21), 3, 9, 1),
        (15, (120, 21), 3, 9, 2),
        (500, (120, 35), 3, 15, 34),
        (500, (300, 90), 7, 84, 6),
        (3, (20, 3), 1, 1, 3),
        (0, (120, 21), 1, 1, 1),
    ],
)
def test_charts_stay_readable_and_the_rest_is_paged(
    charts: int, size: tuple[int, int], columns: int, per_page: int, pages: int
) -> None:
    layout = multiples(charts, *size)
    assert (layout.columns, layout.per_page, layout.pages) == (columns, per_page, pages)


def test_a_page_beyond_the_last_is_the_last() -> None:
    layout = multiples(15, 120, 21)
    assert list(range(15))[layout.page(7)] == list(range(9, 15))
