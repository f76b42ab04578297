"""The local provider with real processes and real signals."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from console.fleet import processes
from console.fleet.model import InstanceSpec, Label, OfferQuery, ProviderState
from console.fleet.providers.local import MARKER, LocalProvider
from console.runs.transport import LocalTransport
from tests.patience import PATIENCE_S
from tests.remote.conftest import wait_for


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[LocalProvider]:
    provider = LocalProvider(tmp_path / "instances")
    yield provider
    for instance in provider.list():
        provider.destroy(instance.id)


@pytest.fixture
def label() -> str:
    return str(Label.new("c0ffee00", time.time() + 600))


def rent(provider: LocalProvider, label: str, grace_s: float = 60.0) -> str:
    return provider.create(InstanceSpec(provider.offers(OfferQuery())[0], label, grace_s))


def start_sleeper(provider: LocalProvider, instance: str) -> psutil.Process:
    """A run's process that has a child of its own, both ignoring SIGTERM."""
    transport = provider.transport(instance)
    transport.put(b"", "runs/r/run.yaml")
    code = "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); os.fork(); time.sleep(60)"
    transport.start([sys.executable, "-c", code], "runs/r", environment={})
    identity = transport.process_of("runs/r")
    assert identity is not None
    return psutil.Process(identity.pid)


def test_an_instance_is_a_directory_and_a_watchdog(provider: LocalProvider, label: str) -> None:
    instance = rent(provider, label)
    (listed,) = provider.list()
    assert (listed.id, listed.label, listed.state) == (instance, label, ProviderState.RUNNING)
    assert provider.get(instance) == listed
    assert len(processes.marked(MARKER, label)) == 1


def test_an_instance_keeps_its_age_whatever_is_written_there(
    provider: LocalProvider, label: str, tmp_path: Path
) -> None:
    instance = rent(provider, label)
    before = provider.get(instance)
    (tmp_path / "instances" / label / "new").write_text("")
    os.utime(tmp_path / "instances" / label, (2e9, 2e9))
    assert provider.get(instance) == before


def test_destroy_ends_every_process_and_the_directory(
    provider: LocalProvider, label: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("console.fleet.providers.local._PATIENCE_S", 0.5)
    instance = rent(provider, label)
    run = start_sleeper(provider, instance)
    wait_for(lambda: len(processes.marked(MARKER, label)) == 3)
    provider.destroy(instance)
    assert processes.marked(MARKER, label) == []
    assert not run.is_running() or run.status() == psutil.STATUS_ZOMBIE
    assert provider.list() == []
    assert list((tmp_path / "instances").iterdir()) == []
    provider.destroy(instance)  # idempotent


def test_the_death_of_the_leader_is_seen_at_once(provider: LocalProvider, label: str) -> None:
    instance = rent(provider, label)
    for process in processes.marked(MARKER, label):
        os.kill(process.pid, signal.SIGKILL)
        process.wait(PATIENCE_S)
    found = provider.get(instance)
    assert found is not None
    assert found.state is ProviderState.STOPPED


def test_an_identity_is_more_than_a_pid(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"])
    identity = processes.identify(child.pid)
    assert identity is not None
    assert processes.Identity.from_json(identity.to_json()) == identity
    recycled = processes.Identity(child.pid, identity.start_time - 3600, identity.boot_id)
    assert recycled != identity
    child.kill()
    child.wait()
    assert processes.identify(child.pid) is None


def test_a_run_that_dies_at_once_is_gone_not_forgotten(tmp_path: Path) -> None:
    transport = LocalTransport(tmp_path, python=sys.executable, marker={MARKER: "x"})
    transport.put(b"", "runs/r/run.yaml")
    transport.start([sys.executable, "-c", "print('boom')"], "runs/r", environment={})
    until = time.monotonic() + PATIENCE_S
    while transport.process_of("runs/r") is not None and time.monotonic() < until:
        time.sleep(0.05)
    assert transport.process_of("runs/r") is None
    assert transport.read("runs/r/run.log") == b"boom\n"
    assert transport.size("runs/r/run.pid")


def test_a_process_that_nobody_reaps_is_ended_all_the_same() -> None:
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as careless:
        assert careless.stdout is not None
        child = psutil.Process(int(careless.stdout.readline()))
        began = time.monotonic()
        try:
            processes.end([child], patience_s=60)
            assert child.status() == psutil.STATUS_ZOMBIE
        finally:
            careless.kill()
    assert time.monotonic() - began < 60


def test_a_process_with_a_pid_that_was_used_before_is_ended_too() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"], env={**os.environ, MARKER: "reused"}
    )
    try:
        # Somebody looked through the processes while that pid was another one's.
        for seen in psutil.process_iter():
            if seen.pid == child.pid:
                seen._create_time = seen.create_time() - 3600
                seen._ident = (child.pid, seen._create_time)
        found = processes.marked(MARKER, "reused")
        assert [process.pid for process in found] == [child.pid]
        processes.end(found, patience_s=5)
        child.wait(30)
    finally:
        child.kill()
        child.wait()
