"""A run as one picture."""

import sys
from pathlib import Path

import pytest

from console.home import Home
from console.operations import Operations
from ups.errors import ConfigError
from ups.rundir import RunDirectory


@pytest.mark.needs_module("PIL")
def test_curves_and_rollouts_are_one_picture(home: Home, hard_run: RunDirectory, tmp_path: Path) -> None:
    from PIL import Image

    Operations(home).write_report("1130-hard", png=tmp_path / "run.png")
    with Image.open(tmp_path / "run.png") as picture:
        assert picture.width > 1800
        assert len(picture.reduce(4).getcolors(1 << 20) or ()) > 500
    assert not list(tmp_path.glob(".run.png*"))


def test_without_pillow_it_says_what_to_install_and_the_page_needs_none(
    home: Home, hard_run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(ConfigError, match="Pillow") as caught:
        Operations(home).write_report("1130-hard", png=tmp_path / "run.png")
    assert "ups-console[report]" in caught.value.hint
    assert Operations(home).write_report("1130-hard", html=tmp_path / "run.html") == [tmp_path / "run.html"]
