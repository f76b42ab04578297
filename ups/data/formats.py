"""The layouts in which a dataset can be exported. Imports nothing, so that a command line can list them."""

from enum import StrEnum


class ExportFormat(StrEnum):
    """How other programs want a dataset."""

    LAGRANGEBENCH = "lagrangebench"
    """A folder of particle trajectories: `train.h5`, `valid.h5`, `test.h5` and `metadata.json`."""
