"""Loop devices over files, for tests of raw block volumes."""

import contextlib
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MIB = 1024 * 1024


@dataclass(frozen=True)
class LoopDevice:
    """A block device of this host, and the file behind it."""

    node: Path
    file: Path

    def grow(self, size: int) -> None:
        with self.file.open("r+b") as file:
            file.truncate(size)
        subprocess.run(["losetup", "--set-capacity", self.node], check=True)

    def read(self, path: str) -> str:
        """A file of the ext4 file system on it, as on the host; the device is not mounted."""
        command = ["debugfs", "-R", f"cat {path}", str(self.file)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@contextlib.contextmanager
def loop_device(directory: Path, size: int = 8 * MIB, *options: str) -> Iterator[LoopDevice]:
    """A loop device (losetup(8)) over a new file in `directory`, for as long as the context lasts."""
    file = directory / f"disk-{uuid.uuid4().hex}.img"
    with file.open("xb") as made:
        made.truncate(size)
    command = ["losetup", "--find", "--show", *options, str(file)]
    node = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    try:
        yield LoopDevice(Path(node), file)
    finally:
        subprocess.run(["losetup", "--detach", node], check=True)


@contextlib.contextmanager
def without_devices(directory: Path) -> Iterator[Path]:
    """A file system at `directory` on which no device node can be opened, as /run is under systemd."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nosuid,nodev,mode=711", "tmpfs", directory], check=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", directory], check=True)
