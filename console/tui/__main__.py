"""`python -m console.tui`: the console for whoever brings a driver of its own, such as a browser's.

`ups-console` refuses to open without a terminal; here there is none by intent. The home is `$UPS_HOME`.
It ends with the process that started it, also where that one could not say so.
"""

import os
import signal
import threading
import time

from console.home import Home
from console.operations import Operations
from console.tui.app import run_console

_LOOK_S = 1.0


def end_with(parent: int) -> None:
    """Leave as at SIGTERM once the parent is gone; returns at once."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_S)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


if __name__ == "__main__":
    end_with(os.getppid())
    run_console(Operations(Home.default()))
