from console.tui.teardown import Teardowns


class Clock:
    t = 100.0

    def __call__(self) -> float:
        return self.t


def test_nothing_goes_before_the_window_closes() -> None:
    clock = Clock()
    teardowns = Teardowns(now=clock)
    assert teardowns.ask(["18342"], "loses nothing")
    clock.t += 4.9
    assert teardowns.due() == []
    clock.t += 0.2
    assert teardowns.due() == ["18342"]
    assert teardowns.running == ["18342"]


def test_taken_back_is_taken_back() -> None:
    clock = Clock()
    teardowns = Teardowns(now=clock)
    teardowns.ask(["18342"], "")
    assert teardowns.take_back() == ["18342"]
    clock.t += 60
    assert teardowns.due() == []
    assert not teardowns.busy


def test_what_is_going_already_is_not_asked_for_again() -> None:
    clock = Clock()
    teardowns = Teardowns(now=clock)
    teardowns.ask(["18342"], "")
    clock.t += 6
    teardowns.due()
    assert not teardowns.ask(["18342"], "")


def test_the_window_counts_down_in_sight() -> None:
    clock = Clock()
    teardowns = Teardowns(now=clock)
    teardowns.ask(["18342"], "loses nothing")
    text = "".join(text for row in teardowns.rows() for text, _ in row)
    assert "18342 in 5 s" in text
    assert "u takes it back" in text
    assert "loses nothing" in text
