"""The README's pictures, from a run that was really trained: `python scripts/screenshots.py`.

Opens the console over a home without a terminal, presses the keys that a person would, and writes what it
shows to docs/images: an SVG each, or, where Chromium is installed, a PNG of few colours. Without `--home` a
home is made first: reference data, `local_2task` trained for a while, evaluated (minutes on two cores).
"""

import argparse
import asyncio
import html
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from console.home import Home
from console.look import Look
from console.operations import Operations
from console.tui.app import UpsConsole

IMAGES = Path(__file__).parents[1] / "docs" / "images"
MOST_BYTES = 300_000
_COLOURS = 64
_PATIENCE_S = 30.0
_SETTLED_S = 1.5
_CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture: what is pressed, and what must be on the screen before it is taken."""

    name: str
    keys: Sequence[str]
    awaited: str
    theme: str = "ups-dark"
    size: tuple[int, int] = (132, 40)


SHOTS = (
    Shot("live", ("2",), "nRMSE"),
    Shot("history", ("5",), "report of"),
    Shot("live-light", ("2",), "nRMSE", theme="ups-light", size=(110, 32)),
)


def main() -> int:
    """Make the pictures; 1 where one is too large or shows nothing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--home", type=Path, help="with a finished run; default: one is trained")
    parser.add_argument("--out", type=Path, default=IMAGES, help="folder of the pictures")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="ups-screenshots-") as folder:
        home = options.home or trained(Path(folder) / "home")
        written = [picture(shot, home, options.out) for shot in SHOTS]
    for path in written:
        print(f"{path}  {path.stat().st_size / 1000:.0f} kB")
    return int(any(path.stat().st_size > MOST_BYTES for path in written))


def trained(home: Path) -> Path:
    """A home with reference data and one finished run."""
    environment = {**os.environ, "UPS_HOME": str(home)}
    for arguments in (
        ("data", "make", "advection1d", "darcy2d", "--samples", "48"),
        ("launch", "local_2task", "--set", "stages.operator.epochs=10"),
    ):
        command = [sys.executable, "-m", "console.cli.app", *arguments]
        subprocess.run(command, env=environment, check=True)
    return home


def picture(shot: Shot, home: Path, folder: Path) -> Path:
    """Write a picture; the smaller of the two kinds that GitHub shows alike."""
    path = folder / f"{shot.name}.svg"
    path.write_text(asyncio.run(drawn(shot, home)), encoding="utf-8")
    browser = next((found for name in _CHROMIUM if (found := shutil.which(name))), None)
    if browser is None:
        return path
    png = as_png(path, browser)
    path.unlink()
    return png


async def drawn(shot: Shot, home: Path) -> str:
    """The SVG of what the console shows.

    Raises:
        RuntimeError: what was awaited never came.
    """
    app = UpsConsole(Operations(Home(home)), Look(theme=shot.theme))
    async with app.run_test(size=shot.size) as pilot:
        await pilot.press(*shot.keys)
        until = time.monotonic() + _PATIENCE_S
        while shot.awaited not in html.unescape(app.export_screenshot()).replace("\xa0", " "):
            if time.monotonic() > until:
                raise RuntimeError(f"{shot.name}: {shot.awaited!r} is not on the screen")
            await pilot.pause(0.1)
        await pilot.pause(_SETTLED_S)
        return app.export_screenshot(title="ups-console", simplify=True)


def as_png(svg: Path, browser: str) -> Path:
    """Through Chromium, which knows the fonts; then as few colours as the eye needs."""
    from PIL import Image

    found = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg.read_text(encoding="utf-8"))
    width, height = (int(float(value)) for value in found.groups()) if found else (1280, 800)
    png = svg.with_suffix(".png")
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                browser,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                "--default-background-color=00000000",
                f"--user-data-dir={profile}",
                f"--window-size={width},{height}",
                f"--screenshot={png.resolve()}",
                svg.resolve().as_uri(),
            ],
            check=True,
            capture_output=True,
            timeout=120,
        )
    with Image.open(png) as image:
        image.convert("RGBA").quantize(_COLOURS, method=Image.Quantize.FASTOCTREE).save(png, optimize=True)
    return png


if __name__ == "__main__":
    sys.exit(main())
