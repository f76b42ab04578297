import multiprocessing
import subprocess
from pathlib import Path

import pytest

from console.errors import LoginError
from console.fleet.keys import KeyPair, check_private, console_key
from ups.errors import StoreError


def test_a_console_has_one_key_for_ever(tmp_path: Path) -> None:
    first = console_key(tmp_path, "0a1b2c3d")
    assert console_key(tmp_path, "0a1b2c3d") == first
    assert first.private.stat().st_mode & 0o777 == 0o600
    assert first.private.parent.stat().st_mode & 0o077 == 0
    kind, _, comment = first.public.split(" ")
    assert (kind, comment) == ("ssh-ed25519", "ups-console-0a1b2c3d")
    assert [path.name for path in first.private.parent.iterdir()] == [first.private.name]


@pytest.mark.needs_program("ssh-keygen")
def test_openssh_reads_the_key(tmp_path: Path) -> None:
    key = console_key(tmp_path, "0a1b2c3d")
    command = ["ssh-keygen", "-y", "-f", str(key.private)]
    public = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert public.split()[:2] == key.public.split()[:2]


def test_two_consoles_that_start_at_once_get_the_same_key(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        made = pool.starmap(console_key, [(tmp_path, "0a1b2c3d")] * 8)
    assert len(set(made)) == 1
    assert len(list((tmp_path / "keys").iterdir())) == 1


def test_no_key_is_shown(tmp_path: Path) -> None:
    key = console_key(tmp_path, "0a1b2c3d")
    assert isinstance(key, KeyPair)
    assert "PRIVATE" not in repr(key)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    key = console_key(tmp_path, "0a1b2c3d")
    key.private.chmod(mode)
    with pytest.raises(LoginError, match=f"{key.private} can be read by others") as refused:
        console_key(tmp_path, "0a1b2c3d")
    assert refused.value.hint == f"chmod 600 {key.private}"


def test_a_missing_and_a_damaged_key_are_named(tmp_path: Path) -> None:
    with pytest.raises(LoginError, match="cannot be read"):
        check_private(tmp_path / "none")
    path = console_key(tmp_path, "0a1b2c3d").private
    path.write_text("damaged")
    with pytest.raises(LoginError, match="is no OpenSSH key"):
        console_key(tmp_path, "0a1b2c3d")


def test_a_home_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    with pytest.raises(StoreError, match="cannot be made"):
        console_key(tmp_path / "home", "0a1b2c3d")
