"""Volumes that the kubelet's atomic writer keeps on the host (configMap, secret, ...), kept in the guest's memory.

Through the share a container would see new content, but no event of it (inotify(7)): virtio-fs has none for what the
host does. So the agent takes the same steps as the kubelet, with the same names (k8s.io/kubernetes,
pkg/volume/util/atomic_writer.go), and those who watch see what they would see on a node.
"""

import base64
import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from vmsandbox.protocol.messages import VolumeEntry, WriteVolume
from vmsandbox_agent.errors import AgentError
from vmsandbox_agent.setup.mounts import make_tmpfs
from vmsandbox_agent.setup.namespaces import PodNamespaces

DATA, _NEW_DATA = "..data", "..data_tmp"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class AtomicVolumes:
    """The atomic volumes of the guest, each a tmpfs below one directory."""

    def __init__(self, root: Path, pod: PodNamespaces) -> None:
        """Keep them below `root`; `pod` says who their owners are."""
        self._root = root
        self._pod = pod

    def write(self, request: WriteVolume) -> None:
        """Make a version the volume's. What fails leaves the one before.

        Raises:
            AgentError: there is no such volume, and it is not to be made; an entry's path is not one.
            OSError: it has no room.
        """
        target = self._root / request.name
        if not os.path.ismount(target):
            if not request.make:
                raise AgentError("not_found", f"there is no volume {request.name}")
            make_tmpfs(target, request.size, request.mode, self._pod.owner(request.gid))
        _check(request.entries)
        with _opened(target) as volume:
            if _version_of(volume) != request.version:
                self._replace(volume, request)

    def _replace(self, volume: int, request: WriteVolume) -> None:
        _remove_versions(volume, keep=_version_of(volume))
        try:
            self._write_version(volume, request)
            _link(volume, request.version, _NEW_DATA)
        except BaseException:
            _remove_versions(volume, keep=_version_of(volume))
            raise
        os.rename(_NEW_DATA, DATA, src_dir_fd=volume, dst_dir_fd=volume)
        _link_names(volume, {entry.path.split("/")[0] for entry in request.entries if entry.path})
        _remove_versions(volume, keep=request.version)

    def _write_version(self, volume: int, request: WriteVolume) -> None:
        os.mkdir(request.version, 0o700, dir_fd=volume)
        with _opened(request.version, volume) as version:
            for entry in request.entries:
                _write(version, entry)
            for entry in reversed(request.entries):  # Files before the directories that they change.
                self._describe(version, entry)

    def _describe(self, version: int, entry: VolumeEntry) -> None:
        path, times = entry.path or ".", (entry.modified, entry.modified)
        os.chown(path, *self._pod.user_and_group(entry.uid, entry.gid), dir_fd=version, follow_symlinks=False)
        os.chmod(path, entry.mode, dir_fd=version)
        os.utime(path, ns=times, dir_fd=version, follow_symlinks=False)


def _check(entries: Iterable[VolumeEntry]) -> None:
    for entry in entries:
        parts = entry.path.split("/")
        if entry.path and (".." in parts or "." in parts or "" in parts or "\0" in entry.path):
            raise AgentError("invalid_argument", f"{entry.path!r} is not a path in a volume")


def _write(version: int, entry: VolumeEntry) -> None:
    if entry.content is None:
        if entry.path:
            os.mkdir(entry.path, 0o700, dir_fd=version)
        return
    try:
        content = base64.b64decode(entry.content, validate=True)
    except ValueError:
        raise AgentError("invalid_argument", f"the content of {entry.path!r} is not in base64") from None
    with os.fdopen(os.open(entry.path, _NEW_FILE, 0o600, dir_fd=version), "wb") as file:
        file.write(content)


def _link_names(volume: int, names: set[str]) -> None:
    """Make the links that are missing, and remove those to what the version does not have."""
    present = {name for name in os.listdir(volume) if not name.startswith("..")}
    for name in sorted(names - present):
        _link(volume, f"{DATA}/{name}", name)
    for name in sorted(present - names):
        os.unlink(name, dir_fd=volume)


def _link(volume: int, target: str, name: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=volume)
    os.symlink(target, name, dir_fd=volume)


def _remove_versions(volume: int, keep: str) -> None:
    """Remove all directories of versions but one."""
    import shutil  # its compression modules are not needed at the agent's start

    for name in os.listdir(volume):
        if name.startswith("..") and name not in (keep, DATA, _NEW_DATA):
            shutil.rmtree(name, dir_fd=volume)


def _version_of(volume: int) -> str:
    try:
        return os.readlink(DATA, dir_fd=volume)
    except FileNotFoundError:
        return ""


@contextlib.contextmanager
def _opened(path: "Path | str", directory: int | None = None) -> Iterator[int]:
    fd = os.open(path, _DIRECTORY, dir_fd=directory)
    try:
        yield fd
    finally:
        os.close(fd)
