import concurrent.futures
import contextlib
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from console.errors import HostKeyChangedError, LoginError, ProviderError, UnreachableError
from console.fleet import processes
from console.runs import ssh_packets
from console.runs.transport import Completed, LocalTransport, Piece, Span, Transport
from tests.console.runs.sshd import HURRIED, LABEL, Door
from tests.console.runs.sshd import door as door
from tests.patience import PATIENCE_S
from tests.simulators.sshd import new_key
from ups.errors import StoreError

pytestmark = [pytest.mark.needs_program("sshd"), pytest.mark.needs_program("ssh-keygen")]


@pytest.fixture(params=["local", "ssh"])
def both(request: pytest.FixtureRequest, door: Door) -> tuple[Transport, Path]:
    """Each transport, and the box's directory."""
    door.box.mkdir()
    if request.param == "local":
        return LocalTransport(door.box, python=sys.executable, marker={"UPS_INSTANCE": LABEL}), door.box
    return door.transport(), door.box


def test_files_go_both_ways(both: tuple[Transport, Path]) -> None:
    transport, box = both
    content = bytes(range(256)) * 5
    transport.put(content, "a b/c's/$HOME.bin", mode=0o600)
    written = box / "a b" / "c's" / "$HOME.bin"
    assert written.read_bytes() == content
    assert written.stat().st_mode & 0o777 == 0o600
    assert transport.size("a b/c's/$HOME.bin") == len(content)
    assert transport.read("a b/c's/$HOME.bin") == content
    assert transport.read("a b/c's/$HOME.bin", 10, 20) == content[10:30]
    assert transport.read("a b/c's/$HOME.bin", len(content)) == b""
    assert transport.read("a b/c's/$HOME.bin", len(content) + 5) == b""
    transport.put(b"", "empty")
    assert transport.size("empty") == 0
    assert transport.read("empty") == b""
    assert transport.size("missing") is None
    assert transport.read("missing") == b""
    assert transport.size("a b") is None
    assert [(file.path, file.bytes) for file in transport.list("a b")] == [("c's/$HOME.bin", len(content))]
    assert transport.list("missing") == []
    assert not list(box.rglob("*.part"))


def test_many_files_are_followed_in_one_round_trip(both: tuple[Transport, Path]) -> None:
    transport, _ = both
    transport.put(b"0123456789", "one")
    transport.put(b"\n\n12 5\n", "two")
    spans = [
        Span("one", 3, 4),
        Span("missing", 0, 10),
        Span("two", 0, 100),
        Span("one", 10, 5),
        Span("one", 99, 5),
    ]
    assert list(transport.pieces(spans)) == [
        Piece(10, b"3456"),
        Piece(None, b""),
        Piece(7, b"\n\n12 5\n"),
        Piece(10, b""),
        Piece(10, b""),
    ]


def test_a_command_gets_its_input_and_gives_its_output_errors_and_code(both: tuple[Transport, Path]) -> None:
    transport, box = both
    script = 'cat; echo "$UPS_INSTANCE" >&2; pwd >&2; exit 3'
    done = transport.run(["sh", "-c", script, "it's $HOME"], input=b"in\0put\n", timeout_s=PATIENCE_S)
    assert done == Completed(3, b"in\0put\n", f"{LABEL}\n{box}\n".encode())
    assert transport.run(["no-such-program"], timeout_s=PATIENCE_S).code == 127


def test_a_command_that_takes_too_long_is_ended(both: tuple[Transport, Path]) -> None:
    transport, _ = both
    with pytest.raises(ProviderError, match="longer than"):
        transport.run(["sleep", "1234.5"], timeout_s=0.3)
    assert not [p for p in psutil.process_iter(["cmdline"]) if "1234.5" in (p.info["cmdline"] or [])]


def test_a_run_outlives_its_console_and_is_found_and_ended(both: tuple[Transport, Path]) -> None:
    transport, box = both
    (box / "runs" / "r").mkdir(parents=True)
    (box / "runs" / "r" / "run.log").write_text("before\n")
    script = "import os, time; print(os.environ['SECRET'], flush=True); time.sleep(600)"
    secret = 'it\'s $a "secret"\n\\'
    transport.start([transport.python, "-c", script], "runs/r", environment={"SECRET": secret})
    transport.close()
    process = transport.process_of("runs/r")
    assert process is not None
    assert processes.identify(process.pid) == process
    living = psutil.Process(process.pid)
    wait_until(lambda: living.environ().get("UPS_INSTANCE") == LABEL)  # it may be about to become the program
    assert os.getsid(process.pid) == process.pid
    assert not [found for found in psutil.process_iter(["cmdline"]) if "secret" in str(found.info["cmdline"])]
    log = box / "runs" / "r" / "run.log"
    wait_until(lambda: log.read_text() == f"before\n{secret}\n")
    assert transport.terminate("runs/r")
    wait_until(lambda: transport.process_of("runs/r") is None)
    assert not transport.terminate("runs/r")
    assert not list((box / "runs" / "r").glob(".*"))


def test_a_run_that_dies_at_once_leaves_its_identity_and_its_last_words(both: tuple[Transport, Path]) -> None:
    transport, box = both
    (box / "r").mkdir()
    transport.start(["sh", "-c", "echo no >&2; exit 1"], "r", environment={})
    wait_until(lambda: (box / "r" / "run.log").read_text() == "no\n")
    wait_until(lambda: transport.process_of("r") is None)
    assert processes.Identity.from_json((box / "r" / "run.pid").read_bytes()) is not None
    assert transport.process_of("never") is None


def test_output_and_errors_larger_than_every_window_do_not_block_each_other(door: Door) -> None:
    script = "head -c 20000000 /dev/zero; head -c 20000000 /dev/zero >&2; head -c 1000 /dev/zero"
    both_ways = "head -c 20000000 /dev/zero >&2 & cat; wait"
    transport = door.transport()
    done = transport.run(["sh", "-c", script], timeout_s=PATIENCE_S)
    assert (done.code, len(done.out), len(done.err)) == (0, 20_001_000, 20_000_000)
    content = random.Random(1).randbytes(20_000_000)
    done = transport.run(["sh", "-c", both_ways], input=content, timeout_s=PATIENCE_S)
    assert (done.code, done.out == content, len(done.err)) == (0, True, 20_000_000)


def test_input_that_nobody_reads_ends_with_the_command(door: Door) -> None:
    done = door.transport().run(["sh", "-c", "exit 4"], input=b"x" * 30_000_000, timeout_s=PATIENCE_S)
    assert done.code == 4


def test_many_threads_share_a_connection_without_exceeding_its_sessions(door: Door) -> None:
    transport = door.transport()
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        found = list(pool.map(lambda n: transport.run(["echo", str(n)], timeout_s=PATIENCE_S).out, range(48)))
    assert found == [f"{n}\n".encode() for n in range(48)]
    assert door.server.log.count("Accepted publickey") == 1


def test_a_connection_that_was_cut_is_opened_anew(door: Door) -> None:
    transport = door.transport()
    transport.put(b"x", "file")
    assert door.server.cut() > 0
    assert transport.read("file") == b"x"
    assert door.server.log.count("Accepted publickey") == 2


def test_a_command_that_was_cut_is_not_sent_twice(door: Door) -> None:
    transport = door.transport()
    transport.put(b"", "count")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(transport.run, ["sh", "-c", "echo x >> count; sleep 2"], timeout_s=20)
        wait_until(lambda: (door.box / "count").read_text() == "x\n")
        door.server.cut()
        with pytest.raises(UnreachableError):
            asked.result()
    assert transport.read("count") == b"x\n"


def test_a_session_that_is_refused_without_a_reason_cuts_nobody_off(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two that are refused at the same time paramiko tells only one why."""
    import paramiko

    transport = door.transport()
    transport.put(b"x", "file")
    link = transport._connection._link
    assert link is not None
    open_session, refusals = link.transport.open_session, [paramiko.SSHException("Unable to open channel.")]

    def refuse_once(**options: Any) -> Any:
        if refusals:
            raise refusals.pop()
        return open_session(**options)

    monkeypatch.setattr(link.transport, "open_session", refuse_once)
    assert transport.read("file") == b"x"
    assert not refusals
    assert door.server.log.count("Accepted publickey") == 1


def test_a_frozen_box_is_noticed_and_found_again(door: Door) -> None:
    transport = door.transport(HURRIED)
    transport.put(b"x", "file")
    door.server.freeze()
    started = time.monotonic()
    with pytest.raises(UnreachableError):
        transport.read("file")
    assert time.monotonic() - started < HURRIED.stall_s
    with pytest.raises(UnreachableError):  # nor does it let anyone in
        transport.read("file")
    door.server.resume()
    assert transport.read("file") == b"x"


def test_a_box_that_freezes_while_much_is_sent_is_noticed(door: Door) -> None:
    transport = door.transport(HURRIED)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(
            transport.run, ["sh", "-c", "touch began; sleep 60"], input=bytes(50_000_000), timeout_s=60
        )
        wait_until((door.box / "began").exists)
        door.server.freeze()
        with pytest.raises(UnreachableError):
            asked.result(timeout=30)
    door.server.resume()


def test_a_connection_whose_own_thread_hangs_is_given_up(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    transport = door.transport(HURRIED)
    transport.put(b"x", "file")
    released = threading.Event()
    with monkeypatch.context() as patch:
        patch.setattr(ssh_packets.WatchedPacketizer, "read_message", lambda self: released.wait() and None)
        with pytest.raises(UnreachableError):
            transport.run(["sleep", "30"], timeout_s=60)
    try:
        assert transport.read("file") == b"x"
    finally:
        released.set()


def test_importing_the_transport_does_not_import_paramiko() -> None:
    code = "import sys, console.runs.ssh, console.runs.ssh_wait; print('paramiko' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"False\n"


def test_nobody_at_the_address_is_said_so(door: Door) -> None:
    transport = door.transport()
    door.server.refuse()
    with pytest.raises(UnreachableError, match=f"connection refused at 127.0.0.1:{door.server.port}"):
        transport.size("file")


def test_the_host_key_is_pinned_at_first_contact_and_a_change_is_refused(door: Door) -> None:
    transport = door.transport()
    transport.put(b"x", "file")
    assert door.known_hosts.read_text().split()[1:] == door.server.host_key.split()[:2]
    assert door.known_hosts.stat().st_mode & 0o777 == 0o600
    pinned = door.known_hosts.read_bytes()
    door.server.change_host_key()
    with pytest.raises(HostKeyChangedError, match="another machine"):
        transport.read("file")
    assert "Accepted publickey" not in door.server.log.rpartition("Server listening")[2]
    assert door.known_hosts.read_bytes() == pinned


def test_a_key_that_others_can_read_is_refused(door: Door) -> None:
    door.key.chmod(0o640)
    with pytest.raises(LoginError, match="mode 0640") as refused:
        door.transport().size("file")
    assert refused.value.hint == f"chmod 600 {door.key}"


def test_a_key_that_the_box_does_not_know_is_refused(door: Door) -> None:
    door.key.unlink()
    new_key(door.key)
    with pytest.raises(LoginError, match="does not accept the key"):
        door.transport().size("file")


def test_a_file_that_is_no_key_is_refused(door: Door) -> None:
    door.key.write_text("no key")
    with pytest.raises(LoginError, match="no SSH private key"):
        door.transport().size("file")


def test_words_of_the_login_shell_are_no_output(door: Door, tmp_path: Path) -> None:
    transport = door.transport()
    door.server.refuse()
    home = tmp_path / "home"
    home.mkdir()
    (home / ".bashrc").write_text("echo Welcome to this machine\n")
    greet = 'echo Welcome; eval "$SSH_ORIGINAL_COMMAND"'
    config = door.server.directory / "greet"
    config.write_text(greet)
    door.server._options["ForceCommand"] = f"sh {config}"
    door.server.start()
    transport.put(b"x", "file")
    assert transport.read("file") == b"x"
    assert transport.run(["echo", "y"], timeout_s=PATIENCE_S).out == b"y\n"


def test_a_large_file_goes_on_where_a_cut_has_left_it(door: Door, tmp_path: Path) -> None:
    content = random.Random(2).randbytes(12_000_000)
    source = tmp_path / "weights"
    source.write_bytes(content)
    transport = door.transport()
    with door.server.cut_every(0.25, times=4):
        for turn in range(2):
            with contextlib.suppress(UnreachableError):
                transport.put_file(source, f"a/{turn}")
    transport.put_file(source, "a/weights")
    assert (door.box / "a" / "weights").read_bytes() == content
    assert not list(door.box.rglob("*.part"))
    before = (door.box / "a" / "weights").stat()
    transport.put_file(source, "a/weights")  # it is there: nothing moves
    assert (door.box / "a" / "weights").stat() == before


def test_a_damaged_part_is_not_taken_for_the_file(door: Door, tmp_path: Path) -> None:
    source = tmp_path / "weights"
    source.write_bytes(random.Random(3).randbytes(2_000_000))
    transport = door.transport()
    transport.put_file(source, "first")
    import hashlib

    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    (door.box / f".weights.{digest[:16]}.part").write_bytes(b"damaged" * 1000)
    transport.put_file(source, "weights")
    assert (door.box / "weights").read_bytes() == source.read_bytes()


def test_a_disk_that_cannot_be_written_is_said_so(door: Door, tmp_path: Path) -> None:
    transport = door.transport()
    transport.put(b"", "file")
    source = tmp_path / "weights"
    source.write_bytes(bytes(1_000_000))
    with pytest.raises(StoreError, match="cannot be written"):
        transport.put(b"x", "file/below")
    with pytest.raises(StoreError, match="cannot be written"):
        transport.put_file(source, "file/below")
    with pytest.raises(StoreError, match="cannot be written"):
        transport.put(b"x" * 100, "/dev/full/x")


def test_content_survives_any_cuts(door: Door) -> None:
    transport = door.transport()
    content = random.Random(4).randbytes(3_000_000)
    with door.server.cut_every(0.35):
        for turn in range(4):
            persistent(lambda turn=turn: transport.put(content[: turn * 700_000], "file"))
            assert persistent(lambda: transport.read("file")) == content[: turn * 700_000]
    wait_until(lambda: not list(door.box.rglob("*.part")))


def test_a_start_is_one_start_however_often_it_is_cut(door: Door) -> None:
    transport = door.transport()
    started = 0
    with door.server.cut_every(0.05):
        for number in range(8):
            try:
                transport.start(["sh", "-c", "echo once"], f"r{number}", environment={"A": "b"})
                started += 1
            except (UnreachableError, ProviderError):
                continue
    logs = [door.box / f"r{number}" / "run.log" for number in range(8)]
    wait_until(lambda: sum(log.exists() and log.read_text() == "once\n" for log in logs) >= started)
    assert all(log.read_text() in ("", "once\n") for log in logs if log.exists())


def persistent(what):
    for _ in range(60):
        try:
            return what()
        except UnreachableError:
            continue
    raise AssertionError("never got through")


def wait_until(condition, timeout_s: float = PATIENCE_S) -> None:
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)
