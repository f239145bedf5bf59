"""A root file system out of Debian packages, from which an image takes the programs it needs and nothing else."""

import contextlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vmsandbox.guestimage.mirrors import choose_sources, sources_list

SUITE = "trixie"
PACKAGES = (
    "acl", "attr", "base-files", "buildah", "busybox", "crun", "libcap2-bin", "netavark", "nginx", "php8.4-fpm",
    "postgresql-17", "procps", "sqlite3", "util-linux",
)  # fmt: skip
SOURCES = Path(__file__).parent / "src"

_LIBRARY = re.compile(r"(/\S+) \(0x")


@dataclass(frozen=True)
class Workshop:
    """Packages extracted below `root`, and not configured."""

    root: Path

    def take(self, program: str, tree: Path) -> None:
        """Copy a program (a path in the root, without /) and the shared libraries it needs into a tree."""
        self._copy(program, tree)
        linker = next(self.root.glob("usr/lib*/ld-linux-*")).relative_to(self.root / "usr")
        for library in _LIBRARY.findall(self.run(f"/{linker}", "--list", f"/{program}")):
            self._copy(f"usr{library}", tree)  # /lib and /lib64 are links into /usr, in the root as in the tree

    def applets(self) -> list[str]:
        """The names of busybox's commands."""
        return self.run("/usr/bin/busybox", "--list").split()

    def run(self, *command: str, user: int = 0) -> str:
        """Return the output of a program of the root, run as a user and group of this number."""
        chroot = ["chroot", f"--userspec={user}:{user}", str(self.root), *command]
        return subprocess.run(chroot, check=True, capture_output=True, text=True).stdout

    def _copy(self, name: str, tree: Path) -> None:
        target = tree / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.root / name, target)


@contextlib.contextmanager
def open_workshop(packages: Sequence[str] = PACKAGES) -> Iterator[Workshop]:
    """Extract packages into a temporary directory, which is removed afterwards. Takes seconds, and needs root."""
    with tempfile.TemporaryDirectory(prefix="vmsandbox-standins-") as directory:
        root = Path(directory) / "root"
        command = ["mmdebstrap", "--mode=root", "--variant=extract", f"--include={','.join(packages)}"]
        command += [SUITE, str(root), "-"]
        sources = sources_list(choose_sources(SUITE))
        subprocess.run(command, input=sources, text=True, check=True, capture_output=True)
        yield Workshop(root)


def compile_static(source: str, target: Path) -> None:
    """Compile one of `src/` into a program that needs no library."""
    target.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["gcc", "-O2", "-Wall", "-Werror", "-static", "-s", "-o", target, SOURCES / source], check=True)
