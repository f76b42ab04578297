import http.server
import socket
import subprocess
import threading
import time
from pathlib import Path
from urllib.request import urlopen

import pytest

from console.fleet.model import SshAddress
from console.runs.ssh_client import forward_argv, ssh_argv
from tests.console.runs.sshd import Door
from tests.console.runs.sshd import door as door
from tests.patience import PATIENCE_S
from tests.simulators.sshd import new_key

pytestmark = [pytest.mark.needs_program("sshd"), pytest.mark.needs_program("ssh")]


def test_the_users_own_client_opens_the_box_with_the_pinned_key(door: Door) -> None:
    door.transport().open()
    pinned = door.known_hosts.read_bytes()
    argv = ssh_argv(door.server.address, door.key, door.known_hosts, ["echo", "here"])
    done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "here\n", "")
    assert door.known_hosts.read_bytes() == pinned
    door.server.change_host_key()
    done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 255
    assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in done.stderr


def test_paths_with_spaces_and_percents_are_taken_as_they_are(door: Door, tmp_path: Path) -> None:
    folder = tmp_path / "100%d of it"
    folder.mkdir()
    door.server.authorize(new_key(folder / "key %h"))
    argv = ssh_argv(door.server.address, folder / "key %h", folder / "known hosts", ["true"])
    done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 0, done.stderr
    assert (folder / "known hosts").read_text().startswith("ups-instance ")


def test_a_host_that_looks_like_an_option_is_none(tmp_path: Path) -> None:
    argv = ssh_argv(SshAddress("-oProxyCommand=touch x"), tmp_path / "key", tmp_path / "known_hosts")
    assert argv[-2:] == ["--", "-oProxyCommand=touch x"]


def test_a_port_of_the_box_is_brought_here(door: Door, tmp_path: Path) -> None:
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"charts")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        argv = forward_argv(
            door.server.address,
            door.key,
            door.known_hosts,
            local_port=port,
            remote_port=server.server_address[1],
        )
        client = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
        try:
            assert _page(f"http://127.0.0.1:{port}/") == b"charts"
        finally:
            client.terminate()
            client.wait()
            server.shutdown()


def _page(url: str) -> bytes:
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            with urlopen(url, timeout=5) as answer:
                return bytes(answer.read())
        except OSError:
            assert time.monotonic() < until
            time.sleep(0.05)
