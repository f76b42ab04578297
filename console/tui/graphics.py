"""Which terminals show pictures as pixels.

The terminal is not asked: the answer would come among the keys, or the first frame would wait for it.
"""

import shutil
from collections.abc import Mapping


def shows_pixels(environment: Mapping[str, str]) -> bool:
    """Whether the terminal says by its environment that it knows kitty's placeholders for pictures.

    kitty knows them since 0.28, which brought the program `kitten`; over SSH its age cannot be told.
    tmux and screen stand between, and without all colours a picture's number is lost.
    """
    if environment.get("TMUX") or environment.get("STY") or environment.get("NO_COLOR"):
        return False
    if environment.get("COLORTERM") not in ("truecolor", "24bit"):
        return False
    if environment.get("TERM_PROGRAM") == "ghostty":
        return True
    return (
        "KITTY_WINDOW_ID" in environment and shutil.which("kitten", path=environment.get("PATH")) is not None
    )
