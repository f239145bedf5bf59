"""hostPath volumes: what has to be there on the host, or is made."""

import stat
from collections.abc import Callable
from pathlib import Path

from vmsandbox import fs
from vmsandbox.pod.api.volumes import HostPath, HostPathType

_KINDS: dict[HostPathType, tuple[str, Callable[[int], bool]]] = {
    HostPathType.DIRECTORY: ("a directory", stat.S_ISDIR),
    HostPathType.DIRECTORY_OR_CREATE: ("a directory", stat.S_ISDIR),
    HostPathType.FILE: ("a file", stat.S_ISREG),
    HostPathType.FILE_OR_CREATE: ("a file", stat.S_ISREG),
    HostPathType.SOCKET: ("a socket", stat.S_ISSOCK),
    HostPathType.CHAR_DEVICE: ("a character device", stat.S_ISCHR),
    HostPathType.BLOCK_DEVICE: ("a block device", stat.S_ISBLK),
}


def check_host_path(volume: HostPath) -> None:
    """Find that the host has what a volume asks for, or make it.

    Raises:
        InvalidArgument: it has not, or it cannot be made.
    """
    path = Path(volume.path)
    at = volume.at.of("path")
    try:
        if volume.type is HostPathType.DIRECTORY_OR_CREATE:
            fs.make_missing(path, 0o755)
        if volume.type is HostPathType.FILE_OR_CREATE:
            fs.touch(path, 0o644)
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise at.error(f"there is no {path} on the host", hint="type: DirectoryOrCreate makes a directory") from None
    except OSError as error:
        raise at.error(f"{path}: {error.strerror}") from None
    if volume.type is HostPathType.ANY:
        return
    name, matches = _KINDS[volume.type]
    if not matches(mode):
        raise at.error(f"{path} is not {name}")
