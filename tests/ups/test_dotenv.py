"""An `.env` file is parsed, never executed, and an error never shows what is in it."""

import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ups.dotenv import parse_dotenv, read_dotenv
from ups.errors import ConfigError, NotFoundError

NAMES = st.text(string.ascii_letters + string.digits + "_", min_size=1, max_size=12).filter(str.isidentifier)
CHARACTERS = st.characters(blacklist_categories=["Cs"], blacklist_characters="\r\n\0")
VALUES = st.text(CHARACTERS, max_size=30)
BLANK = st.sampled_from(["", " ", "\t", "  "])


def values(text: str) -> dict[str, str]:
    return {name: found.value for name, found in parse_dotenv(text, ".env").items()}


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=b", "b"),
        ("export A=b", "b"),
        ("  export\tA = b c  ", "b c"),
        ("A=", ""),
        ("A= # nothing", ""),
        ("A=b # why", "b"),
        ("A=b#c", "b#c"),
        ("A=#b", "#b"),
        ("A=it's", "it's"),
        ("A='b # c'  # why", "b # c"),
        ("A=' b '", " b "),
        ('A="b \\" \\\\ \\$ \\n"', 'b " \\ $ \\n'),
        ("A=k=v==", "k=v=="),
        ("A=$HOME `id` $(id)", "$HOME `id` $(id)"),
        ('A="$(touch owned)"', "$(touch owned)"),
        ("A=a\r\nA=b", "b"),
        ("\ufeffA=b", "b"),
    ],
)
def test_what_a_line_may_be(line: str, value: str) -> None:
    assert values(line) == {"A": value}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("sEcReT", "no ="),
        ("export sEcReT", "no ="),
        ("A-B=sEcReT", "no name"),
        ("=sEcReT", "no name"),
        ("1A=sEcReT", "no name"),
        ("A='sEcReT", "not closed"),
        ('A="sEcReT\\"', "not closed"),
        ("A='sEcReT'x", "follows the closing quote"),
        ("A='sEcReT''x'", "follows the closing quote"),
        ("A=sEcReT\0", "NUL"),
    ],
)
def test_a_malformed_line_is_named_and_not_shown(line: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        parse_dotenv(f"# keys\r\n\r\nFINE=1\r\n{line}\r\n", "conf/.env")
    error = caught.value
    assert error.message.startswith("conf/.env, line 4: ")
    assert "sEcReT" not in f"{error.message}{error.hint}{error.__cause__}"


def written(name: str, value: str, style: str) -> str | None:
    """A line that means this value, None where the style cannot say it."""
    if style == "single":
        return None if "'" in value else f"{name}='{value}'"
    if style == "double":
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$").replace("`", "\\`")
        return f'{name}="{escaped}"'
    bare = value == value.strip(" \t") and " #" not in value and "\t#" not in value
    return f"{name}={value}" if bare and value[:1] not in ("'", '"') else None


@given(
    st.lists(st.tuples(NAMES, VALUES, st.sampled_from(["single", "double", "bare"]), st.booleans(), BLANK)),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(["", "# comment = 'x", "   "]),
)
def test_what_is_written_is_read(
    entries: list[tuple[str, str, str, bool, str]], end: str, between: str
) -> None:
    lines, expected = [], {}
    for name, value, style, exports, blank in entries:
        line = written(name, value, style)
        if line is not None:
            lines += [f"{blank}{'export ' if exports else ''}{line}{blank}", between]
            expected[name] = value
    assert values(end.join(lines)) == expected


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_with_its_line(text: str) -> None:
    try:
        found = parse_dotenv(text, ".env")
    except ConfigError as error:
        number = int(error.message.removeprefix(".env, line ").partition(":")[0])
        assert 1 <= number <= len(text.splitlines()) + text.count("\r") + 1
        return
    assert all(name.isidentifier() and name.isascii() for name in found)
    assert all(value.value in text or "\\" in text for value in found.values())


@given(st.binary(max_size=100))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ".env"
        path.write_bytes(content)
        refusal = f"{path}, line "
        try:
            read_dotenv(path)
        except ConfigError as error:
            refusal = error.message
    assert refusal.startswith(f"{path}, line ")


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no file"):
        read_dotenv(tmp_path / "none")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_dotenv(tmp_path)
    path = tmp_path / "latin"
    path.write_bytes(b"A=b\r\nKEY=sEcReT\xe9\n")
    with pytest.raises(ConfigError, match="line 2: this is not UTF-8") as caught:
        read_dotenv(path)
    assert "sEcReT" not in str(caught.value)
