"""What the runtime needs on a box: which versions will do, and which one is installed where none does."""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Requirement:
    """One distribution."""

    name: str
    low: str
    high: str
    """Exclusive; empty: none is too new."""
    pin: str
    """What is installed where the image has nothing in range."""
    megabytes: int
    """The download, with what it needs itself."""

    def accepts(self, version: str | None) -> bool:
        if version is None:
            return False
        found = release(version)
        return release(self.low) <= found and not (self.high and found >= release(self.high))


REQUIREMENTS = (
    Requirement("boto3", "1.36", "2", "1.44.8", 16),
    Requirement("einops", "0.8", "1", "0.8.2", 1),
    Requirement("h5py", "3.11", "4", "3.16.0", 5),
    Requirement("httpx", "0.27", "1", "0.28.1", 1),
    Requirement("numpy", "1.26", "", "2.4.6", 17),
    Requirement("nvidia-ml-py", "12", "14", "13.615.71", 1),
    Requirement("obstore", "0.8", "1", "0.12.1", 5),
    Requirement("psutil", "6", "8", "7.2.2", 1),
    Requirement("pydantic", "2.9", "3", "2.14.4", 3),
    Requirement("pyyaml", "6", "7", "6.0.4", 1),
    Requirement("safetensors", "0.4.5", "1", "0.8.0", 1),
    Requirement("scipy", "1.13", "2", "1.17.1", 38),
)
WANDB = Requirement("wandb", "0.19", "1", "0.31.0", 25)
"""Only where a config asks for it."""
PILLOW = Requirement("pillow", "10.1", "", "12.2.0", 7)
"""Beside it: wandb takes pictures through it."""
TORCH = Requirement("torch", "2.9", "2.14", "2.9.1", 3200)
"""Inherited from the image where it is in range. The pin is built for CUDA 12.8, which most hosts support."""
TORCH_CUDA = "12.8"
"""Of that pin."""
TORCH_CPU_MEGABYTES = 200
UV = "uv==0.13.9"
"""Brings a Python where the image has none in range."""
PYTHON = Requirement("python", "3.11", "3.15", "3.12", 30)


def release(version: str) -> tuple[int, ...]:
    """The numbers of a version, without trailing zeros: `2.9.0+cu128` is (2, 9)."""
    found = re.match(r"\d+(\.\d+)*", version)
    numbers = [int(part) for part in found[0].split(".")] if found else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def cuda_of(version: str) -> str | None:
    """The CUDA that a torch is built for, where its version says so: `2.9.0+cu128` for 12.8."""
    found = re.search(r"\+cu(\d+)(\d)$", version)
    return f"{found[1]}.{found[2]}" if found else None
