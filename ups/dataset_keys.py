"""`DATASET_KEY`: names of data that a machine may fetch from elsewhere where the store lacks a task.

A key such as `burgers1d_full_v1` begins with its task. Which folder or artifact it means is the affair of
`remote.keyed`. Light to import.
"""

import os
from dataclasses import dataclass

from ups.tasks import TASK_SPECS

KEY_VARIABLE = "DATASET_KEY"
"""Environment variable: keys, separated by commas."""


@dataclass(frozen=True, slots=True)
class DatasetKeys:
    """The keys that were given."""

    keys: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "DatasetKeys":
        """The keys that a value of the variable names."""
        return cls(tuple(key.strip() for key in text.split(",") if key.strip()))

    @classmethod
    def of_environment(cls) -> "DatasetKeys":
        return cls.parse(os.environ.get(KEY_VARIABLE, ""))

    def key_of(self, task: str) -> str | None:
        """The first key of a task."""
        return next((key for key in self.keys if task_of(key) == task), None)


def task_of(key: str) -> str | None:
    """The task that a key begins with; the longest name that fits, for names hold underscores too."""
    fitting = [task for task in TASK_SPECS if key == task or key.startswith(f"{task}_")]
    return max(fitting, key=len, default=None)
