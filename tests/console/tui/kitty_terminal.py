"""What a terminal that knows kitty's graphics protocol holds after what it was sent."""

import base64
import re
import zlib
from dataclasses import dataclass, field

import numpy as np

_COMMAND = re.compile(r"\x1b_G(?P<keys>[^;\x1b]*)(?:;(?P<data>[^\x1b]*))?\x1b\\")


@dataclass
class KittyTerminal:
    """Pictures by number, as bytes [H, W, 3], and the cells that each fills."""

    pictures: dict[int, np.ndarray] = field(default_factory=dict)
    cells: dict[int, tuple[int, int]] = field(default_factory=dict)
    sent: int = 0
    _keys: dict[str, str] = field(default_factory=dict)
    _data: str = ""

    def feed(self, text: str) -> None:
        """Obey the commands in what was written."""
        for command in _COMMAND.finditer(text):
            keys = dict(pair.split("=") for pair in command["keys"].split(","))
            assert keys["q"] == "2", "an answer would be read as keys"
            if keys.get("a") == "d":
                del self.pictures[int(keys["i"])]
                continue
            assert len(command["data"]) <= 4096
            self._keys = self._keys or keys
            self._data += command["data"]
            if keys["m"] == "0":
                self._keep()

    def _keep(self) -> None:
        keys, data = self._keys, base64.b64decode(self._data)
        self._keys, self._data = {}, ""
        assert (keys["a"], keys["U"], keys["f"], keys["o"]) == ("T", "1", "24", "z")
        shape = int(keys["v"]), int(keys["s"]), 3
        number = int(keys["i"])
        self.pictures[number] = np.frombuffer(zlib.decompress(data), np.uint8).reshape(shape)
        self.cells[number] = int(keys["c"]), int(keys["r"])
        self.sent += 1
