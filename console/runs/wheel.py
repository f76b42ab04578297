"""The wheel of the runtime: `ups`, `remote` and `configs` as they are installed here.

The same files give the same bytes, from a checkout and from site-packages alike, so that a box that has a
wheel of this hash needs no other.
"""

import base64
import hashlib
import importlib.util
import io
import os
import shutil
import zipfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from ups.errors import ConfigError, StoreError

PACKAGES = ("configs", "remote", "ups")
DISTRIBUTION = "ups-console"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first moment that a zip file can name
_REQUIRES_PYTHON = ">=3.11"


@dataclass(frozen=True, slots=True)
class RuntimeWheel:
    """A wheel in the cache."""

    path: Path
    """Named so that pip takes it: its hash is the build tag."""
    sha256: str

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def bytes(self) -> int:
        return self.path.stat().st_size


def build(cache: Path) -> RuntimeWheel:
    """The wheel of the installed files, written to `cache` where it is not there yet.

    Raises:
        ConfigError: a package is missing from this installation.
        StoreError: the cache cannot be written.
    """
    version = metadata.version(DISTRIBUTION)
    content = _zip(_files(), version)
    sha256 = hashlib.sha256(content).hexdigest()
    path = cache / _name(version, sha256)
    try:
        if not path.exists() or path.read_bytes() != content:
            cache.mkdir(parents=True, exist_ok=True)
            temporary = path.with_suffix(".part")
            temporary.write_bytes(content)
            temporary.replace(path)
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written: {error.strerror or error}",
            hint="set UPS_HOME to a directory with space that you may write",
        ) from error
    return RuntimeWheel(path, sha256)


def installed_sha256() -> str:
    """Hash of the files that a wheel would hold; quicker than making one."""
    digest = hashlib.sha256()
    for name, content in sorted(_files().items()):
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def kept(cache: Path, sha256: str) -> RuntimeWheel | None:
    """The wheel of this hash; None where the cache lacks it, or holds something else under its name."""
    for path in cache.glob(f"*-0{sha256}-py3-none-any.whl"):
        if hashlib.sha256(path.read_bytes()).hexdigest() == sha256:
            return RuntimeWheel(path, sha256)
    return None


def keep(runtime: RuntimeWheel, folder: Path) -> RuntimeWheel:
    """The same wheel in a folder where it outlives the cache.

    Raises:
        StoreError: the folder cannot be written.
    """
    path = folder / runtime.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        try:
            os.link(runtime.path, path)
        except OSError:  # another file system, or one without links
            shutil.copyfile(runtime.path, path)
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written: {error.strerror or error}",
            hint="set UPS_HOME to a directory with space that you may write",
        ) from error
    return RuntimeWheel(path, runtime.sha256)


def module_source(package: str, name: str) -> bytes:
    """The text of a module that is shipped as a single file, found without importing it."""
    return (_directory(package) / f"{name}.py").read_bytes()


def _name(version: str, sha256: str) -> str:
    # A build tag begins with a digit.
    return f"{DISTRIBUTION.replace('-', '_')}-{version}-0{sha256}-py3-none-any.whl"


def _directory(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(f"the package {package} is not installed here", hint="install ups-console anew")
    return Path(next(iter(spec.submodule_search_locations)))


def _files() -> dict[str, bytes]:
    found = {}
    for package in PACKAGES:
        top = _directory(package)
        for path in top.rglob("*"):
            inner = path.relative_to(top)
            if path.is_file() and _belongs(inner):
                found[f"{package}/{inner.as_posix()}"] = path.read_bytes()
    return found


def _belongs(inner: Path) -> bool:
    hidden = any(part.startswith(".") or part == "__pycache__" for part in inner.parts)
    return not hidden and inner.suffix not in {".pyc", ".pyo", ".orig", ".rej"} and inner.name[-1] != "~"


def _zip(files: dict[str, bytes], version: str) -> bytes:
    information = f"{DISTRIBUTION.replace('-', '_')}-{version}.dist-info"
    files = {
        **files,
        f"{information}/METADATA": (
            f"Metadata-Version: 2.1\nName: {DISTRIBUTION}\nVersion: {version}\n"
            f"Requires-Python: {_REQUIRES_PYTHON}\n"
        ).encode(),
        f"{information}/WHEEL": (
            b"Wheel-Version: 1.0\nGenerator: ups-console\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        ),
    }
    lines = [f"{name},sha256={_digest(files[name])},{len(files[name])}" for name in sorted(files)]
    record = f"{information}/RECORD"
    files[record] = ("\n".join([*lines, f"{record},,"]) + "\n").encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(files, key=lambda name: (name == record, name)):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, also where it is not
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, files[name], compresslevel=6)
    return buffer.getvalue()


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
