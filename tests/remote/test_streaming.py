"""Data come in the background, in the order in which they are needed, and fail where they are needed."""

import threading
from collections.abc import Callable, Collection, Iterator

import pytest

from remote.streaming import Progress, Stream
from ups.errors import StoreError

GROUPS = [["a", "b"], ["c"]]


class Source:
    """Brings groups; fails as often as it is told to, and goes on only when it may."""

    def __init__(self, *, failures: int = 0) -> None:
        self.failures = failures
        self.brought: list[list[str]] = []
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def __call__(self, progress: Progress, tasks: Collection[str]) -> None:
        self.brought.append(list(tasks))
        while not self.may_go_on.wait(0.01):
            progress("", 0, 30)
        progress("", 10, 30)
        if self.failures:
            self.failures -= 1
            raise StoreError(f"no {'+'.join(tasks)}")


MakeStream = Callable[..., Stream]


@pytest.fixture
def make_stream() -> Iterator[MakeStream]:
    streams: list[Stream] = []

    def make(
        source: Source, *, tries: int = 3, trouble: Callable[[Exception], None] = lambda e: None
    ) -> Stream:
        stream = Stream(
            source, GROUPS, progress=lambda *_: None, trouble=trouble, pauses_s=[0.0] * (tries - 1)
        )
        streams.append(stream)
        stream.start()
        return stream

    yield make
    for stream in streams:
        stream.close()


def test_groups_come_in_order(make_stream: MakeStream) -> None:
    source = Source()
    stream = make_stream(source)
    assert stream.wait(["c"], 30)
    assert source.brought == GROUPS
    assert stream.wait(["a"], 0)
    assert stream.wait(["was here from the start"], 0)


def test_what_has_not_come_is_not_here(make_stream: MakeStream) -> None:
    source = Source()
    source.may_go_on.clear()
    stream = make_stream(source)
    assert not stream.wait(["b", "c"], 0.05)
    source.may_go_on.set()
    assert stream.wait(["b", "c"], 30)


def test_failure_is_told_and_tried_again(make_stream: MakeStream) -> None:
    told: list[str] = []
    stream = make_stream(Source(failures=2), trouble=lambda error: told.append(str(error)))
    assert stream.wait(["c"], 30)
    assert told == ["no a+b", "no a+b"]


def test_failure_that_lasts_is_raised_only_where_it_matters(make_stream: MakeStream) -> None:
    source = Source(failures=6)
    stream = make_stream(source)
    assert not stream.wait(["a"], 30)  # three tries have failed; now that it is needed, three more
    with pytest.raises(StoreError, match=r"no a\+b"):
        stream.wait(["a"], 30)
    assert len(source.brought) == 6


def test_failure_that_is_over_when_data_are_needed_is_forgotten(make_stream: MakeStream) -> None:
    source = Source(failures=3)
    stream = make_stream(source)
    assert not stream.wait(["c"], 30)
    assert stream.wait(["c"], 30)


def test_defect_is_raised_where_the_data_are_needed(make_stream: MakeStream) -> None:
    class Broken(Source):
        def __call__(self, progress: Progress, tasks: Collection[str]) -> None:
            raise ZeroDivisionError

    stream = make_stream(Broken())
    assert not stream.wait(["a"], 30)
    with pytest.raises(ZeroDivisionError):
        stream.wait(["a"], 30)


def test_closing_ends_a_download_in_the_middle(make_stream: MakeStream) -> None:
    source = Source()
    source.may_go_on.clear()
    stream = make_stream(source)
    assert not stream.wait(["a"], 0.05)
    stream.close()
    assert not any(thread.name == "hydrate" for thread in threading.enumerate())
    assert not stream.wait(["a"], 0)


def test_outlook_says_how_much_is_here(make_stream: MakeStream) -> None:
    assert Stream(Source(), GROUPS, progress=lambda *_: None, trouble=lambda e: None).outlook() == (
        "nothing has come yet"
    )
    stream = make_stream(Source())
    assert stream.wait(["c"], 30)
    assert stream.outlook().startswith("0.00 of 0.00 GB are here")
