"""The console without a single character beyond ASCII: for fonts and lines that have no others.

One filter over every line that goes to the terminal, whoever drew it; cells keep their width and their
colours. Curves of braille become `*`, `.`, `-`, `'` and `:`; pictures of half blocks a ramp of brightness.
"""

import functools
import unicodedata

from rich.cells import cell_len
from rich.color import Color as RichColor
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

_TABLE = {
    **dict.fromkeys("╭╮╰╯┌┐└┘├┤┬┴┼╔╗╚╝┏┓┗┛╸╺╶╴", "+"),
    **dict.fromkeys("─━═┄┅┈┉╌╍–—−‐‑▔▁⎯", "-"),
    **dict.fromkeys("│┃║┊┋┆┇╎╏▏▕▌▐", "|"),
    **dict.fromkeys("█▇▆▅▓▉▊▋", "#"),
    **dict.fromkeys("▄▃▒▀", "="),
    **dict.fromkeys("▂░", "."),
    **dict.fromkeys("●◉◆■", "*"),
    **dict.fromkeys("○◌◇□", "o"),
    **dict.fromkeys("·•∙…", "."),
    **dict.fromkeys("▶▸►→⇒❯›", ">"),
    **dict.fromkeys("◀◂◄←⇐❮‹", "<"),
    **dict.fromkeys("▲△↑⇧", "^"),
    **dict.fromkeys("▼▽↓⇩", "v"),
    **dict.fromkeys("“”„«»", '"'),
    **dict.fromkeys("‘’‚′", "'"),
    **dict.fromkeys("✓✔", "+"),
    **dict.fromkeys("✗✘×⨯", "x"),
    **dict.fromkeys("µμ", "u"),
    "²": "2", "³": "3", "‖": "|", "≈": "~", "≤": "<", "≥": ">", "±": "~", "⚠": "!", "⭘": "O", "⌃": "^",
    "\u00a0": " ", "ß": "s", "√": "V", "∞": "8", "ν": "v", "β": "b", "Δ": "D", "σ": "s", "ε": "e", "λ": "l",
    "↔": "-", "↕": "|", "⏎": "<", "␣": "_", "ø": "o", "Ø": "O", "æ": "a", "ł": "l", "Ł": "L", "€": "E",
}  # fmt: skip
_RAMP = " .:-=+*#%@"
_BRAILLE, _BRAILLE_END = 0x2800, 0x28FF
_UPPER, _MIDDLE, _LOWER = 0x01 | 0x08, 0x02 | 0x04 | 0x10 | 0x20, 0x40 | 0x80


class AsciiFilter(LineFilter):
    """Puts an ASCII character into every cell that has another one."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The same line in ASCII."""
        return [
            segment if segment.text.isascii() else Segment(_of(segment), segment.style, segment.control)
            for segment in segments
        ]


def _of(segment: Segment) -> str:
    text, style = segment.text, segment.style
    if "▀" in text and style is not None and style.color is not None and style.bgcolor is not None:
        text = text.replace("▀", _shade(style.color, style.bgcolor))
    return "".join(map(_character, text))


@functools.lru_cache(4096)
def _shade(upper: RichColor, lower: RichColor) -> str:
    """A character as bright as two pixels together are."""
    lightness = sum(0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in map(_triplet, (upper, lower))) / 510
    return _RAMP[min(len(_RAMP) - 1, int(lightness * len(_RAMP)))]


def _triplet(colour: RichColor) -> tuple[int, int, int]:
    found = colour.get_truecolor()
    return found.red, found.green, found.blue


@functools.lru_cache(4096)
def _character(char: str) -> str:
    """What stands for a character: as many ASCII characters as it takes cells."""
    if char.isascii():
        return char
    if (known := _TABLE.get(char)) is not None:
        return known
    if _BRAILLE <= ord(char) <= _BRAILLE_END:
        return _dots(ord(char) - _BRAILLE)
    width = cell_len(char)
    plain = unicodedata.normalize("NFKD", char).encode("ascii", "ignore").decode()
    plain = plain if plain.isprintable() else ""
    return (plain or "?")[:1] * width if len(plain) != width else plain


def _dots(bits: int) -> str:
    """A cell of 2 × 4 dots, by how many there are and where."""
    if not bits:
        return " "
    if bits.bit_count() >= 5:
        return "*"
    upper, middle, lower = bool(bits & _UPPER), bool(bits & _MIDDLE), bool(bits & _LOWER)
    if upper and lower:
        return ":"
    if middle:
        return "-"
    return "'" if upper else "."
