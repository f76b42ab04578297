"""The table of the files that PDEBench publishes on DaRUS: which task reads which, and their MD5s.

`published.csv` beside this module has one row for each file that a task of ours reads; files that are
published more than once, under several names, have one row. The data are under CC BY 4.0 (Takamoto et
al., "PDEBench", DaRUS 2022, doi:10.18419/darus-2986). Free of torch.
"""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from ups.errors import DataError, NotFoundError
from ups.tasks import task_spec

DARUS_URL = "https://darus.uni-stuttgart.de/api/access/datafile/"
"""What a file's id is appended to."""
COLUMNS = ("task", "file", "id", "md5")
_MD5 = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """One row of the table."""

    task: str
    file: str
    """The name it is published under."""
    id: str
    """What DaRUS calls it."""
    md5: str

    def url(self, base: str) -> str:
        """Where it is: `base` with `{id}` or `{file}` filled in, or with the id appended."""
        if "{id}" in base or "{file}" in base:
            return base.replace("{id}", self.id).replace("{file}", self.file)
        return base.rstrip("/") + "/" + self.id


def read_table(path: Path | None = None) -> dict[str, list[PublishedFile]]:
    """Task → its published files, in the order of the table.

    Args:
        path: a CSV file with the columns of `COLUMNS`; None: the table that ships with the package.

    Raises:
        NotFoundError: there is no such file, or it names a task that does not exist.
        DataError: a column is missing, a checksum is none, or a file name would leave its folder.
    """
    where = str(path or "the table of published files")
    try:
        text = (path or files("ups.data").joinpath("published.csv")).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFoundError(f"there is no table {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{where} cannot be read: {error}") from None
    reader = csv.DictReader(text.splitlines())
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise DataError(
            f"{where} lacks the columns {', '.join(missing)}", hint=f"its first line is {','.join(COLUMNS)}"
        )
    table: dict[str, list[PublishedFile]] = {}
    for line, row in enumerate(reader, start=2):
        file = _row(f"{where}, line {line}", row)
        table.setdefault(file.task, []).append(file)
    return table


def published_files(
    table: Mapping[str, Sequence[PublishedFile]], task: str, *, limit: int | None = None
) -> list[PublishedFile]:
    """The files of a task, or the first `limit` of them.

    Raises:
        NotFoundError: there is no such task, or nothing is published of it.
    """
    spec = task_spec(task)
    if not table.get(task):
        hint = f"`ups-console data make {task}` generates it" if spec.has_solver else ""
        raise NotFoundError(f"no published files of {task} are known", hint=hint)
    return list(table[task][:limit])


def _row(where: str, row: Mapping[str, str | None]) -> PublishedFile:
    task, file, identifier, md5 = ((row[name] or "").strip() for name in COLUMNS)
    task_spec(task)
    if not file or Path(file).name != file or file.startswith("."):
        raise DataError(f"{where}: {file!r} is no file name")
    if not _MD5.fullmatch(md5.lower()):
        raise DataError(f"{where}: {md5!r} is no MD5", hint="32 hexadecimal digits, as md5sum prints them")
    return PublishedFile(task, file, identifier, md5.lower())
