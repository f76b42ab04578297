"""The text of one line of a log, no more of it than can be looked at."""

import codecs

from msgspec import Struct

from console.tui.log.lines import Lines, NotCountedError, Place


class LineText(Struct, frozen=True):
    """A line as it stands in the file, without its newline."""

    text: str
    hidden: int = 0
    """Bytes of it that were not decoded."""
    is_end: bool = False
    """What was decoded is the end: the last state of a progress bar. Else it is the beginning."""


def line_text(lines: Lines, place: Place, *, patient: bool = False) -> LineText:
    """Read the line at a place.

    Args:
        lines: all lines of the log.
        place: where the line starts.
        patient: find the end of a very long line also where that takes a while.
    """
    file, limit = lines.log.parts[place.part], lines.log.cell
    content = file.read(place.offset, limit + 1)
    end = content.find(b"\n")
    if end >= 0 or len(content) <= limit:
        return LineText((content[:end] if end >= 0 else content).decode("utf-8", "replace"))
    length = _end(lines, place, patient) - place.offset
    tail = file.read(place.offset + length - limit, limit)
    _, _, state = tail.rstrip(b"\r").partition(b"\r")
    if state:
        return LineText(state.decode("utf-8", "replace"), length - len(state), is_end=True)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    return LineText(decoder.decode(content[:limit]), length - limit)


def _end(lines: Lines, place: Place, patient: bool) -> int:
    """Offset behind the last byte of a line; of the file where its end is far away, and nobody waits."""
    file = lines.log.parts[place.part]
    try:
        following = lines.after(place, patience=-1 if patient else None)
    except NotCountedError:
        return file.size
    if following is not None and following.part == place.part:
        return following.offset - 1
    return file.size - (file.read(file.size - 1, 1) == b"\n")
