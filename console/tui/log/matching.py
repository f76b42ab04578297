"""Which lines of a log are wanted: by an expression, by level, and where those lines are."""

import re
from array import array
from collections.abc import Iterator
from functools import cached_property

from console.tui.drawing.ansi import is_plain, plain, plain_lines
from console.tui.log.lines import Lines, Place
from console.tui.log.text import line_text
from ups.errors import UpsError

_META = re.compile(r"[\\.^$*+?{}\[\]|()]")
_PIECE = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{\d*,?\d*\}|.", re.DOTALL)
"""What counts as one in an expression: an escape, a set, a number of repeats, a character."""
_UNLIMITED = re.compile(r"[*+]|\{\d*,\d*\}")
_ESCAPED, _CAPITALS = re.compile(r"\\."), re.compile(r"[^\W\d_a-z]")


class Criterion:
    """What a line has to hold."""

    def __init__(self, pattern: str, flags: re.RegexFlag = re.NOFLAG, words: tuple[str, ...] = ()) -> None:
        """Args:
        pattern: of the expression, compiled when it is first wanted: the console opens without a log, too.
        flags: of the expression.
        words: in lower case; one of them is in every line that matches. None: it has to be looked for slowly.
        """
        self.pattern, self.flags = pattern, flags
        self.words = words

    @cached_property
    def expression(self) -> re.Pattern[str]:
        return re.compile(self.pattern, self.flags)


class EndlessPatternError(UpsError):
    """An expression may take for ever on some line, and nobody could stop it."""


def criterion(pattern: str) -> Criterion:
    """Of what somebody typed: an expression, or plain text where it is none.

    Smart case: capitals count only where there are some in the pattern.

    Raises:
        EndlessPatternError: it has a repeat within a repeat.
    """
    if not _META.search(pattern):
        return holding(pattern)
    refused = _nested_repeat(pattern)
    if refused:
        raise EndlessPatternError(
            f"a repeat within a repeat could take for ever: {refused}", hint="write it without one of them"
        )
    wanted = Criterion(pattern, _case(_ESCAPED.sub("", pattern)))
    try:
        _ = wanted.expression
    except re.error:
        return holding(pattern)
    return wanted


def _nested_repeat(pattern: str) -> str:
    """The first group that is repeated and has an unlimited repeat in it; empty where there is none."""
    opened: list[list[int]] = []
    closed = -1
    for token in _PIECE.finditer(pattern):
        text = token[0]
        if text == "(":
            opened.append([token.start(), 0])
        elif text == ")" and opened:
            begin, repeats = opened.pop()
            closed = begin if repeats else -1
            if opened:
                opened[-1][1] |= repeats
            continue
        elif _UNLIMITED.fullmatch(text):
            if closed >= 0:
                return pattern[closed : token.end()]
            if opened:
                opened[-1][1] = 1
        closed = -1
    return ""


def holding(text: str) -> Criterion:
    """Of plain text; smart case too."""
    if text.isascii():
        return Criterion(re.escape(text), _case(text) | re.ASCII, (text.lower(),))
    return Criterion(re.escape(text), _case(text))


def _case(text: str) -> re.RegexFlag:
    return re.NOFLAG if _CAPITALS.search(text) else re.IGNORECASE


ERRORS = Criterion(
    r"\b(?:error|fatal|critical):|\b(?:ERROR|FATAL|CRITICAL)\b|\b\w*(?:Error|Exception)\b|Traceback \(",
    words=("error", "fatal", "critical", "exception", "traceback ("),
)
WARNINGS = Criterion(
    ERRORS.pattern + r"|\b[Ww]arning:|\b\w*Warning\b|\bWARN(?:ING)?\b|^.{0,24} ! ",
    words=(*ERRORS.words, "warn", " ! "),
)
LEVELS: tuple[tuple[str, Criterion | None], ...] = (
    ("", None),
    ("warnings", WARNINGS),
    ("errors", ERRORS),
)
"""Name of a level, and what its lines hold."""


class MatchingLines(Lines):
    """The lines of a log that meet all criteria.

    Args:
        lines: all lines of the log; tell them first that it grew.
        criteria: at least one.
        patience: as of `Lines`.
    """

    def __init__(self, lines: Lines, criteria: tuple[Criterion, ...], patience: int = 4) -> None:
        self.lines = lines
        self.criteria = criteria
        super().__init__(lines.log, patience)

    def _stale(self, part: int) -> set[int]:
        stale = super()._stale(part)
        return {*stale, self.lines.open_cell.get(part, 0)} if stale else stale

    def _count(self, part: int, cell: int) -> int:
        return len(self._find(part, cell))

    def _find(self, part: int, cell: int) -> "array[int]":
        file, limit = self.log.parts[part], self.log.cell
        if self._is_barren(file.read(cell * limit, 2 * limit), cell * limit + 2 * limit >= file.size):
            return array("Q")
        starts = self.lines.starts_in(part, cell)
        if not starts:
            return starts
        # What starts in the cell may end behind it; a last line that is very long is looked at alone.
        begin, last = starts[0], starts[-1]
        content = file.read(begin, last + limit + 1 - begin)
        end = content.find(b"\n", last - begin)
        long = end < 0 and begin + len(content) - last > limit
        if long:
            content = content[: last - begin - 1] if len(starts) > 1 else b""
        elif end >= 0:
            content = content[:end]
        found = array("Q")
        if not long or len(starts) > 1:
            found.extend(starts[index] for index in self._matching(content.decode("utf-8", "replace")))
        if long and self.meets(Place(part, last)):
            found.append(last)
        return found

    def _is_barren(self, content: bytes, to_the_end: bool) -> bool:
        """Whether a cell and the one behind it surely hold none: what is in most cells of most searches."""
        if not any(criterion.words for criterion in self.criteria) or not is_plain(content):
            return False
        if not to_the_end and content.find(b"\n", self.log.cell - 1) < 0:
            return False  # the end of a very long line lies further on
        lowered = content.lower()
        return any(c.words and not any(word.encode() in lowered for word in c.words) for c in self.criteria)

    def meets(self, place: Place) -> bool:
        """Whether the line at a place is one of them."""
        text = plain(line_text(self.lines, place, patient=True).text)
        return all(criterion.expression.search(text) for criterion in self.criteria)

    def _matching(self, text: str) -> Iterator[int]:
        """Indices of the lines of a text that meet all criteria."""
        first, *others = self.criteria
        text = plain_lines(text)
        lowered = text.lower()
        if any(c.words and not any(word in lowered for word in c.words) for c in self.criteria):
            return
        candidates = _line_hits(text, first)
        line_number = counted = 0
        for begin, end in candidates:
            line_number += text.count("\n", counted, begin)
            counted = begin
            line = text[begin:end]
            if first.expression.search(line) and all(c.expression.search(line) for c in others):
                yield line_number


def _line_hits(text: str, wanted: Criterion) -> Iterator[tuple[int, int]]:
    """Beginnings and ends of the lines that may meet a criterion."""
    if wanted.words and len(lowered := text.lower()) == len(text):
        position = 0
        places = {word: lowered.find(word) for word in wanted.words}
        while places := {word: at for word, at in places.items() if at >= 0}:
            at = min(places.values())
            begin, position = text.rfind("\n", 0, at) + 1, text.find("\n", at)
            position = len(text) if position < 0 else position
            yield begin, position
            places = {w: lowered.find(w, position) if a < position else a for w, a in places.items()}
        return
    if not _spans_lines(wanted.expression):
        position = 0
        expression = re.compile(wanted.expression.pattern, wanted.expression.flags | re.MULTILINE)
        while position <= len(text) and (hit := expression.search(text, position)):
            begin = text.rfind("\n", 0, hit.start()) + 1
            end = text.find("\n", hit.start())
            end = len(text) if end < 0 else end
            yield begin, end
            position = end + 1
        return
    begin = 0
    while begin <= len(text):
        end = text.find("\n", begin)
        end = len(text) if end < 0 else end
        yield begin, end
        begin = end + 1


def _spans_lines(expression: re.Pattern[str]) -> bool:
    """Whether it may judge a line alone otherwise than within a text: by looking round, \\A, \\Z."""
    return bool(re.search(r"\(\?|\\[AZ]|[*+?}]\+", expression.pattern))
