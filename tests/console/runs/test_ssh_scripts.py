"""The scripts that run on a box, under its sh."""

import subprocess
from pathlib import Path

from console.runs import ssh_scripts as scripts


def _pieces(*arguments: str, path: str = "/usr/bin:/bin") -> bytes:
    command = ["sh", "-c", scripts.PIECES, "sh", *arguments]
    return subprocess.run(command, env={"PATH": path}, check=True, capture_output=True).stdout


def test_a_file_that_is_pruned_while_it_is_read_is_whole(tmp_path: Path) -> None:
    pruned = tmp_path / "checkpoint"
    pruned.write_bytes(b"weights")
    program = tmp_path / "stat"  # after it the run prunes
    program.write_text(f'#!/bin/sh\n/usr/bin/stat "$@"\nrm -f {pruned}\n')
    program.chmod(0o755)
    found = _pieces(str(pruned), "2", "100", path=f"{tmp_path}:/usr/bin:/bin")
    assert found == b"7 5\nights"
    assert not pruned.exists()


def test_pieces_are_cut_out_and_missing_files_are_said_to_be_missing(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"0123456789")
    asked = (str(tmp_path / "a"), "3", "4", str(tmp_path / "none"), "0", "9", str(tmp_path / "a"), "20", "5")
    assert _pieces(*asked) == b"10 4\n3456-1 0\n10 0\n"
