"""The inputs of a guest image, and the keys that change when an input changes.

Two layers: the base (root file system and kernel: packages, half a minute) and the boot layer on top of it (initramfs
with modules and agent: seconds). A kernel of our own is a third, below the base: ten minutes. Package versions are not
an input: a mirror's new versions do not rebuild an image by themselves, `refresh` asks for them; the manifest says
which versions an image holds.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from vmsandbox.guestimage.mirrors import Source

Progress = Callable[[str], None]
"""Is told what is being done, before each step."""
DEBIAN, SMALL = "debian", "small"
"""The kernels that an image can have: a package of Debian's, or its source with a configuration of our own."""
_BUILDER = Path(__file__).parent
_INSTALLED = _BUILDER.parent / "sources"
SOURCES = _INSTALLED if _INSTALLED.is_dir() else _BUILDER.parents[1]
"""The files that images are built from, besides packages: a checkout, or what a wheel holds of one (`setup.py`)."""
DEFINITION = SOURCES / "guest-image"
_BUILDS_BASE = ("base.py", "debian_kernel.py", "mirrors.py", "modules.py")
_BUILDS_BOOT = ("boot.py", "build.py", "inputs.py", "manifest.py")
_EPOCH = 1735689600  # 2025-01-01; SOURCE_DATE_EPOCH overrides it


@dataclass(frozen=True, slots=True)
class Recipe:
    """The options of a build."""

    suite: str
    sources: tuple[Source, ...]
    epoch: int
    """The time of every file in the image, seconds since 1970 (SOURCE_DATE_EPOCH of reproducible-builds.org)."""
    kernel: str = DEBIAN
    """DEBIAN or SMALL."""

    def kernel_key(self) -> str:
        """Names the small kernel. The code that starts its compilation is not an input: that takes ten minutes."""
        return _digest(_files(DEFINITION / "kernel"), f"{self.suite} {self.sources} {self.epoch}")

    def base_key(self) -> str:
        """Names the base layer."""
        files = (*_files(DEFINITION / "base"), *(_BUILDER / name for name in _BUILDS_BASE))
        return _digest(files, repr(self) + (self.kernel_key() if self.kernel == SMALL else ""))

    def key(self) -> str:
        """Names the whole image."""
        files = (*_files(DEFINITION / "boot"), *(_BUILDER / name for name in _BUILDS_BOOT))
        return _digest(files, self.base_key() + agent_build())

    def environment(self) -> dict[str, str]:
        """The environment of the tools that make files."""
        return {**os.environ, "SOURCE_DATE_EPOCH": str(self.epoch), "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def source_date_epoch() -> int:
    """SOURCE_DATE_EPOCH of the environment, or a fixed date."""
    return int(os.environ.get("SOURCE_DATE_EPOCH", _EPOCH))


def read_list(path: Path) -> tuple[str, ...]:
    """The lines of one of the definition's lists, without comments."""
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    return tuple(line for line in lines if line)


def command_line() -> str:
    """The guest kernel's command line."""
    return " ".join(read_list(DEFINITION / "boot" / "command-line.txt"))


def agent_sources(checkout: Path = SOURCES) -> dict[str, bytes]:
    """The agent's sources by their names in its zip: `vmsandbox_agent` and `vmsandbox.protocol`."""
    agent = checkout / "agent"
    found = {str(path.relative_to(agent)): path for path in _files(agent / "vmsandbox_agent", "*.py")}
    found["vmsandbox/__init__.py"] = checkout / "vmsandbox" / "__init__.py"
    for path in _files(checkout / "vmsandbox" / "protocol", "*.py"):
        found[str(path.relative_to(checkout))] = path
    return {name: path.read_bytes() for name, path in sorted(found.items())}


def agent_build(checkout: Path = SOURCES) -> str:
    """The build id that Hello compares: a hash of the agent's and the protocol's sources."""
    digest = hashlib.sha256()
    for name, content in agent_sources(checkout).items():
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


def _files(directory: Path, pattern: str = "*") -> Iterator[Path]:
    return (path for path in sorted(directory.rglob(pattern)) if path.is_file() and "__pycache__" not in path.parts)


def _digest(files: Iterable[Path], parameters: str) -> str:
    digest = hashlib.sha256(parameters.encode())
    for path in files:
        content = path.read_bytes()
        mode = 0o755 if path.stat().st_mode & 0o100 else 0o644  # as in git: the umask of a clone is not an input
        digest.update(f"\n{path.name} {mode:o} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]
