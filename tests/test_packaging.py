"""What is installed is what runs: the files of the package, its entry point, the scripts beside it."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from ups.config_docs import markdown

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Names in the wheel, built outside the checkout so that nothing is left in it."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE", "ups", "remote", "console", "configs"):
        (source / name).symlink_to(ROOT / name)
    code = "import setuptools.build_meta as b, sys; print(b.build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(out)], cwd=source, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (path,) = out.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def test_the_wheel_holds_every_module_and_data_file(wheel: list[str]) -> None:
    tracked = [
        path.relative_to(ROOT).as_posix()
        for package in ("ups", "remote", "console", "configs")
        for path in (ROOT / package).rglob("*")
        if path.suffix in {".py", ".yaml", ".tcss"} or path.name == "py.typed"
    ]

    assert set(tracked) <= set(wheel)


def test_the_wheel_holds_neither_tests_nor_benchmarks(wheel: list[str]) -> None:
    tops = {name.partition("/")[0] for name in wheel}

    assert {name for name in tops if not name.endswith(".dist-info")} == {
        "ups",
        "remote",
        "console",
        "configs",
    }


def test_the_entry_point_exists() -> None:
    module, _, name = PROJECT["project"]["scripts"]["ups-console"].partition(":")

    code = f"import {module} as module; assert callable(module.{name})"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_page_of_config_keys_is_current() -> None:
    assert (ROOT / "docs" / "configs.md").read_text(encoding="utf-8") == markdown(), "run `make docs`"


def test_the_change_log_has_an_entry_for_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    version = re.escape(PROJECT["project"]["version"])

    assert re.search(rf"^## \[(Unreleased|{version})\]", text, re.MULTILINE)


def test_contributing_is_short() -> None:
    assert len((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines()) < 150


@pytest.mark.parametrize(
    "name", ["README.md", "CONTRIBUTING.md", *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))]
)
def test_links_between_pages_lead_somewhere(name: str) -> None:
    page = ROOT / name
    targets = re.findall(r"\]\((?!https?://|#)([^)#\s]+)", page.read_text(encoding="utf-8"))

    assert [target for target in targets if not (page.parent / target).exists()] == []


def script(name: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/bash", str(ROOT / "scripts" / name)],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


class TestFindPython:
    """The interpreter search of `make install`, with a PATH of its own."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        for name in ("bash", "id"):
            (tmp_path / name).symlink_to(
                f"/usr/bin/{name}" if Path(f"/usr/bin/{name}").exists() else f"/bin/{name}"
            )
        return tmp_path

    def program(self, path: Path, name: str, body: str) -> None:
        (path / name).write_text(f"#!/bin/bash\n{body}\n")
        (path / name).chmod(0o755)

    def test_a_shim_that_fails_is_passed_over(self, path: Path) -> None:
        self.program(path, "python3.13", "echo 'command not found' >&2; exit 127")
        self.program(path, "python3.12", f'exec {sys.executable} "$@"')

        assert script("find_python.sh", {"PATH": str(path)}).stdout == "python3.12\n"

    def test_a_plain_python_in_range_is_enough(self, path: Path) -> None:
        self.program(path, "python3", f'exec {sys.executable} "$@"')

        assert script("find_python.sh", {"PATH": str(path)}).stdout == "python3\n"

    def test_a_chosen_python_that_cannot_is_an_error(self, path: Path) -> None:
        self.program(path, "python3.12", f'exec {sys.executable} "$@"')

        done = script("find_python.sh", {"PATH": str(path), "PYTHON": "python3.9"})

        assert done.returncode == 1
        assert "PYTHON=python3.9" in done.stderr

    @pytest.mark.parametrize(
        ("manager", "command"),
        [
            ("apt-get", "apt-get install -y python3"),
            ("brew", "brew install python@3.13"),
            ("dnf", "dnf install"),
        ],
    )
    def test_without_one_the_command_that_gets_one_is_named(
        self, path: Path, manager: str, command: str
    ) -> None:
        self.program(path, manager, "exit 0")

        done = script("find_python.sh", {"PATH": str(path)})

        assert done.returncode == 1
        assert command in done.stderr
        assert done.stdout == ""

    def test_without_the_venv_module_it_is_that_package(self, path: Path) -> None:
        self.program(path, "apt-get", "exit 0")
        self.program(path, "python3", 'case "$*" in *ensurepip*) exit 1;; *) exit 0;; esac')

        assert "apt-get install -y python3-venv" in script("find_python.sh", {"PATH": str(path)}).stderr


def test_the_ci_run_is_executable() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_every_page_is_reached_from_the_index() -> None:
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"index.md"}

    assert pages == set(
        re.findall(r"\]\(([^)]+)\)", (ROOT / "docs" / "index.md").read_text(encoding="utf-8"))
    )
