import json
import time
from pathlib import Path

import pytest

from console.fleet.ledger import Ledger
from console.fleet.model import InstanceState, Label
from console.fleet.providers.local import LocalProvider
from console.home import Home
from console.operations import Operations
from tests.console.cli.test_cli import error_of, ups


def test_with_nothing_to_guard_the_guard_leaves_at_once() -> None:
    done = ups("watch", "--json")
    assert (done.returncode, done.stdout) == (0, "")


def test_looking_once_is_for_labels() -> None:
    done = ups("watch", "--once", "--json")
    assert (done.returncode, error_of(done)["code"]) == (2, "usage")


def test_labels_are_watched_without_a_ledger(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    label = Label.new("deadbeef", time.time() - 3600)
    (home.instances / str(label)).mkdir(parents=True)
    done = ups("watch", "--labels-only", "--once", "--json", "--home", str(home.root))
    assert [json.loads(line)["text"] for line in done.stdout.splitlines()] == [
        f"destroying local-{label.unique} ({label}): the deadline in its label has passed"
    ]
    assert LocalProvider(home.instances).list() == []
    assert not home.ledger.exists()


def test_a_provider_that_left_nothing_is_reconciled_in_one_look(tmp_path: Path) -> None:
    operations = Operations(Home(tmp_path / "home"))
    label = Label.new(operations.ledger.console_id, time.time() + 3600)
    operations.ledger.intend(label, provider="local", what="", usd_per_hour=0.0, cap_usd=0.0, keep=False,
                             run=None, attempt=None)  # fmt: skip
    operations.ledger.move(str(label), InstanceState.REQUESTED, "")
    assert [move.after for move in operations.reconcile()] == [InstanceState.REFUSED]
    assert operations.reconcile() == []


@pytest.mark.parametrize("name", ["orphans", "usd_per_hour", "usd_to_end"])
def test_the_top_line_asks_no_provider(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    operations = Operations(Home(tmp_path / "home"))
    Ledger(operations.home.ledger)
    monkeypatch.setattr(LocalProvider, "list", lambda _: pytest.fail("it was asked"))
    assert getattr(operations.money(), name) == 0
