"""What a follower hands out of a run that is in the mirror."""

from pathlib import Path

from console.api import RunStatus
from console.home import Home
from console.operations import Operations
from console.runs.follow import Cursor
from tests.console.recorded import record


def test_log_bytes_are_handed_out_once(tmp_path: Path) -> None:
    home = Home(tmp_path)
    log = record(home, "1130-0001", "local_2task", 0.1).log_path
    operations = Operations(home)
    cursor = Cursor(operations.ledger, operations.registry.find("1130-0001"))
    log.write_bytes(b"one\n")
    assert cursor.read(RunStatus.RUNNING).log == b"one\n"
    with log.open("ab") as file:
        file.write(b"two\n")
    assert cursor.read(RunStatus.RUNNING).log == b"two\n"
    assert not cursor.read(RunStatus.RUNNING).log_grew


def test_who_reads_the_files_himself_is_only_told_that_they_grew(tmp_path: Path) -> None:
    home = Home(tmp_path)
    log = record(home, "1130-0001", "local_2task", 0.1).log_path
    log.write_bytes(b"one\n")
    operations = Operations(home)
    assert [(b.log, b.log_grew) for b in operations.read("1130-0001", log=False)] == [(b"", True)]
    assert operations.run_logs("1130-0001") == [log.with_name("launch.log"), log]
