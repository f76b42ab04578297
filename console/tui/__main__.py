"""`python -m console.tui`: the console for whoever brings a driver of its own, such as a browser's.

`ups-console` refuses to open without a terminal; here there is none by intent. The home is `$UPS_HOME`.
"""

from console.home import Home
from console.operations import Operations
from console.tui.app import run_console

if __name__ == "__main__":
    run_console(Operations(Home.default()))
