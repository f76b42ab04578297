"""The table of published files fits the tasks, and one's own table is checked before it is used."""

from fnmatch import fnmatch
from pathlib import Path

import pytest

from ups.data.published import DARUS_URL, PublishedFile, published_files, read_table
from ups.errors import DataError, NotFoundError
from ups.tasks import TASK_SPECS


def test_every_task_that_pdebench_publishes_has_files_that_fit_its_pattern() -> None:
    table = read_table()
    assert set(table) == {name for name, spec in TASK_SPECS.items() if spec.raw_files}
    for task, files in table.items():
        assert all(file.task == task and fnmatch(file.file, TASK_SPECS[task].raw_files) for file in files)


def test_no_file_is_there_twice() -> None:
    files = [file for of_task in read_table().values() for file in of_task]
    assert len(files) == len({file.md5 for file in files}) == len({file.id for file in files}) == 307
    assert len(read_table()["navier_stokes2d"]) == 250  # of 274 published, 24 are the same again


def test_a_file_is_found_by_its_id_or_as_a_pattern_says() -> None:
    file = published_files(read_table(), "advection1d", limit=1)[0]
    assert file.url(DARUS_URL) == "https://darus.uni-stuttgart.de/api/access/datafile/255672"
    assert file.url("https://mirror/{file}?raw") == "https://mirror/1D_Advection_Sols_beta0.1.hdf5?raw"


def test_a_task_that_nobody_publishes_says_how_to_get_it() -> None:
    with pytest.raises(NotFoundError) as error:
        published_files(read_table(), "darcy2d_mesh")
    assert "data make darcy2d_mesh" in error.value.hint


def test_a_table_of_ones_own_is_read(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(f"file,task,md5,id,size\nmine.h5,advection1d,{'A' * 32},7,12\n")
    assert read_table(path) == {"advection1d": [PublishedFile("advection1d", "mine.h5", "7", "a" * 32)]}


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("task,file,id\n", DataError, "lacks the columns md5"),
        (f"task,file,id,md5\nadvection,a.h5,1,{'0' * 32}\n", NotFoundError, "no task 'advection'"),
        ("task,file,id,md5\nadvection1d,a.h5,1,0\n", DataError, "line 2: '0' is no MD5"),
        (f"task,file,id,md5\nadvection1d,../a.h5,1,{'0' * 32}\n", DataError, "is no file name"),
    ],
)
def test_a_table_that_is_wrong_is_refused_with_its_line(
    tmp_path: Path, text: str, error: type[Exception], words: str
) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(error, match=words):
        read_table(path)


def test_a_table_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        read_table(tmp_path / "table.csv")
