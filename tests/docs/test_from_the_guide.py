"""`docs/from_the_guide.md`: every command of the page is run, every test that it names is there."""

import ast
import re
import shlex
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.api import RentOptions
from console.fleet.lifecycle import RentTerms, renting
from console.fleet.model import InstanceState
from console.home import Home
from console.operations import Operations
from tests.console.recorded import record
from tests.simulators.b2 import REGION, B2Server
from tests.simulators.vast import VastSimulator
from tests.simulators.vultr import VultrSimulator
from ups.data.convert import make
from ups.store import open_store

pytestmark = pytest.mark.needs_module("vastai")

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "from_the_guide.md"
TASKS = ("advection1d", "darcy2d", "burgers1d", "reaction_diffusion2d", "navier_stokes2d", "darcy2d_mesh",
         "particles_advect")  # fmt: skip
_CODE = re.compile(r"`([^`]+)`")
_COMMAND = re.compile(r"(?:[A-Z_]+=\S*(?:\"[^\"]*\")? )*(?:ups-console|python -m remote) ")
_SPENDS = re.compile(r"ups-console (launch|preprocess|resume|destroy|evaluate|ssh)\b")


def _right_column() -> Iterator[str]:
    """What stands in code in the last column of the tables."""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("|"):
            yield from _CODE.findall(line.rstrip("|").rpartition(" | ")[2])


COMMANDS = [code for code in dict.fromkeys(_right_column()) if _COMMAND.match(f"{code} ")]
TESTS = [code for code in dict.fromkeys(_right_column()) if code.startswith("tests/")]


class World:
    """A laptop with data, accounts at simulated providers, and runs that ended, were lost and go on."""

    def __init__(self, root: Path, vast: VastSimulator, vultr: VultrSimulator) -> None:
        self.root = root
        self.vast = vast
        self.environment = {
            "UPS_HOME": str(root / "home"), "UPS_STORE": f"dir:{root / 'store'}", "UPS_FLEET_PACE": "0.01",
            "VAST_API_KEY": vast.api_key, "VAST_URL": vast.url,
            "VULTR_API_KEY": vultr.api_key, "VULTR_URL": vultr.url,
            "UPS_REMOTE_WORKDIR": str(root / "workspace"), "OMP_NUM_THREADS": "1",
            "UPS_SCRATCH": str(root / "scratch"), "UPS_DARUS_URL": "http://127.0.0.1:9",
        }  # fmt: skip
        self.words: dict[str, str] = {}

    def fill(self) -> None:
        """Make the data and the runs; to be called with the environment set."""
        store = open_store(f"dir:{self.root / 'store'}")
        for task in TASKS:
            make(store, task, samples=3)
        home = Home(self.root / "home")
        done = record(home, "1101-done", "train_pdebench_2task_baseline", 0.05)
        done.log_path.write_text("epoch 1\n")
        lost = record(home, "1102-lost", "local_2task", 0.05)
        lost.events_path.write_text("\n".join(lost.events_path.read_text().splitlines()[:1]) + "\n")
        live = record(home, "1103-live", "local_2task", 0.05)
        live.events_path.unlink()
        operations = Operations(home)
        self.words = {"RUN": "1101-done", "LOST": "1102-lost", "LIVE": "1103-live",
                      "OFFER": operations.offers("vast").offers[0].id,
                      "PLAN": operations.offers("vultr").offers[0].id.partition("@")[0],
                      "INSTANCE": self._rent(operations, "1103-live")}  # fmt: skip

    def _rent(self, operations: Operations, run: str) -> str:
        site, rent = operations.site("vast"), RentOptions(provider="vast")
        terms = RentTerms(run, 1, time.time() + 3600, 1.0, keep=True)
        offer = site.rank(rent).chosen[-1]
        with renting(operations.ledger, site.provider, offer, terms, operations.home.locks,
                     spec_of=lambda label: site.spec(label, offer, rent)) as entry:  # fmt: skip
            for before, after in (("starting", "reachable"), ("reachable", "running")):
                assert operations.ledger.entry(entry.label).state == before
                operations.ledger.move(entry.label, InstanceState(after), "test")
        return str(entry.provider_id)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with VastSimulator() as vast, VultrSimulator() as vultr, pytest.MonkeyPatch.context() as patch:
        world = World(tmp_path_factory.mktemp("guide"), vast, vultr)
        for name, value in world.environment.items():
            patch.setenv(name, value)
        world.fill()
        yield world


@pytest.fixture
def bucket(b2_server: B2Server) -> dict[str, str]:
    key = b2_server.new_key(b2_server.new_bucket())
    return {
        "B2_KEY_ID": key.key_id, "B2_APP_KEY": key.secret, "B2_BUCKET": key.bucket,
        "B2_S3_ENDPOINT": b2_server.url, "B2_S3_REGION": REGION,
    }  # fmt: skip


def run(arguments: list[str]) -> int:
    """`ups-console` or `python -m remote` in this process; its exit code."""
    from console.cli import app
    from remote.__main__ import main

    if arguments[:3] == ["python", "-m", "remote"]:
        try:
            return main(arguments[3:])
        except SystemExit as ended:
            return int(ended.code or 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", arguments)
        with pytest.raises(SystemExit) as left:
            app.main()
    return int(left.value.code or 0)


def test_the_page_has_what_it_should() -> None:
    assert len(COMMANDS) > 50
    assert len(TESTS) > 20
    assert "shared/" not in PAGE.read_text(encoding="utf-8")
    forgotten = [code for code in COMMANDS if _SPENDS.search(code) and "--dry-run" not in code]
    assert [code for code in forgotten if "--help" not in code] == []


@pytest.mark.parametrize("name", TESTS)
def test_every_test_that_the_page_names_exists(name: str) -> None:
    path, _, test = name.partition("::")
    defined = {node.name for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8")))
               if isinstance(node, ast.FunctionDef)}  # fmt: skip
    assert test in defined or (not test and defined)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_page_does_what_it_says(
    command: str, world: World, bucket: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("# nothing\n")
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    for name, value in world.environment.items():
        monkeypatch.setenv(name, value)
    words = [world.words.get(word, word) for word in shlex.split(command)]
    while re.match(r"[A-Z_]+=", words[0]):
        name, _, value = words.pop(0).partition("=")
        monkeypatch.setenv(name, value)
    if "upt_128d_128tok" in words and words[1:3] in (["caches", "fetch"], ["caches", "verify"]):
        assert run(["ups-console", "caches", "build", "upt_128d_128tok", "advection1d"]) == 0
    if "preprocess" in words:  # a rented box has to reach the store
        for name, value in bucket.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("UPS_STORE")
    created = len(world.vast.sent("create"))

    code = run(words)

    said = capfd.readouterr()
    assert code == 0, (said.out[-1500:], said.err[-1500:])
    assert "Traceback" not in said.err
    assert said.out.strip()
    assert len(world.vast.sent("create")) == created
    for secret in (world.environment["VAST_API_KEY"], world.environment["VULTR_API_KEY"],
                   bucket["B2_APP_KEY"]):  # fmt: skip
        assert secret not in said.out + said.err
