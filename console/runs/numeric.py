"""numpy, loaded without the threads of its linear algebra.

Such a thread begins by waiting busily for work, for a tenth of a second of a core that whoever reads a run
beside the console could use; and the console multiplies no matrices.
"""

import os

_THREADS = "OPENBLAS_NUM_THREADS"


def load_numpy() -> None:
    """Load it where nothing has yet; what the user asks of it stays, and other programs are asked nothing."""
    is_asked = _THREADS in os.environ
    os.environ.setdefault(_THREADS, "1")  # read once, while the library is loaded
    try:
        import numpy  # noqa: F401
    finally:
        if not is_asked:
            del os.environ[_THREADS]
