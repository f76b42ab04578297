"""The names under which older scripts look for data: `{task}_{split}.h5`, links to the files themselves."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from ups.config import TrainConfig

FOLDER_VARIABLE = "PDEBENCH_ROOT"


def folder_of(config: TrainConfig, work: Path) -> Path:
    """Where the links are: `PDEBENCH_ROOT`, else the config's `data.root` below a work directory."""
    return work / (os.environ.get(FOLDER_VARIABLE, "").strip() or config.data.root)


def link_splits(folder: Path, datasets: Mapping[str, Mapping[str, Path]]) -> list[str]:
    """Let `{folder}/{task}_{split}.h5` be links to these files, each changed atomically.

    What stands there and is no link is somebody's own file, and stays.

    Returns:
        What could not be linked, in words; nothing depends on the links.
    """
    problems = []
    for task, files in datasets.items():
        for split, file in files.items():
            link = folder / f"{task}_{split}.h5"
            try:
                folder.mkdir(parents=True, exist_ok=True)
                if not _point(link, Path(os.path.relpath(file, folder.resolve()))):
                    problems.append(f"{link} is a file of its own")
            except OSError as error:
                problems.append(f"{link}: {error.strerror or error}")
    return problems


def _point(link: Path, target: Path) -> bool:
    """Make a link, or change where it leads; False where something else has its name."""
    if not link.is_symlink():
        try:
            link.symlink_to(target)  # fails where anything is: nothing is ever replaced
        except FileExistsError:
            return False
        return True
    if link.readlink() != target:
        fresh = link.with_name(f".{link.name}-{secrets.token_hex(4)}")
        fresh.symlink_to(target)
        fresh.replace(link)
    return True
