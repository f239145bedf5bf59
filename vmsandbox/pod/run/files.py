"""Files of configMap and secret volumes on the host, and whose they are.

They are replaced all at once, as the kubelet's atomic writer does it:

    ..2026_11_24_14_30_05.x8k2/app/settings    the files of one version
    ..data -> ..2026_11_24_14_30_05.x8k2       renamed into place: the one step that changes what a container sees
    app -> ..data/app                          what the container opens
"""

import contextlib
import os
import secrets
import shutil
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vmsandbox.fs.durable import replace_link
from vmsandbox.pod.api import PodSpec
from vmsandbox.pod.plan import File, owner


@dataclass(frozen=True, slots=True)
class VolumeOwner:
    """The owner of what a pod's volumes hold at first."""

    root: int = 0
    """The id that root of the containers has outside of the pod's user namespace."""
    group: int | None = None
    """fsGroup, as the containers know it."""

    @classmethod
    def of(cls, spec: PodSpec) -> "VolumeOwner":
        """The one that a pod asks for."""
        return cls(owner(spec), spec.security_context.fs_group)

    def take(self, path: Path, mode: int, *, writable: bool) -> None:
        """Give a file or a directory to it, and the group the rights it needs; follows no link.

        Args:
            path: what is given.
            mode: its permissions without those of fsGroup.
            writable: whether the containers may write it.
        """
        if self.root or self.group is not None:  # chown first: it takes set-group-id away
            os.chown(path, self.root, self.root + (self.group or 0), follow_symlinks=False)
        if self.group is not None:
            mode |= 0o660 if writable else 0o440
            mode |= stat.S_ISGID | 0o110 if path.is_dir() else 0
        path.chmod(mode)


_DATA = "..data"


def write_files(directory: Path, files: Mapping[str, File], owner: VolumeOwner) -> None:
    """Make `directory` hold exactly these files; a reader sees meanwhile all of the old or all of the new.

    Args:
        directory: exists, and is written by this function alone.
        files: by their path below it.
        owner: of the files.
    """
    version = directory / f"..{time.strftime('%Y_%m_%d_%H_%M_%S')}.{secrets.token_hex(4)}"
    _write_version(version, files, owner)
    old = _current(directory)
    replace_link(directory / _DATA, version.name, temporary=directory / f"{_DATA}_tmp")
    _link_names({PurePosixPath(path).parts[0] for path in files}, directory)
    if old:
        shutil.rmtree(directory / old, ignore_errors=True)


def _write_version(version: Path, files: Mapping[str, File], owner: VolumeOwner) -> None:
    _make_directory(version, owner)
    for path, file in files.items():
        for parent in reversed(PurePosixPath(path).parents[:-1]):
            if not (version / parent).is_dir():
                _make_directory(version / parent, owner)
        _write(version / path, file, owner)


def _make_directory(directory: Path, owner: VolumeOwner) -> None:
    directory.mkdir()
    owner.take(directory, 0o755, writable=False)


def _write(path: Path, file: File, owner: VolumeOwner) -> None:
    path.touch(mode=0o600, exist_ok=False)
    path.write_bytes(file.content)
    owner.take(path, file.mode, writable=False)


def _current(directory: Path) -> str:
    with contextlib.suppress(FileNotFoundError):
        return str((directory / _DATA).readlink())
    return ""


def _link_names(names: set[str], directory: Path) -> None:
    present = {entry.name for entry in directory.iterdir() if not entry.name.startswith("..")}
    for name in names - present:
        (directory / name).symlink_to(f"{_DATA}/{name}")
    for name in present - names:
        (directory / name).unlink()
