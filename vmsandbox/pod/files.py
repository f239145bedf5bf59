"""Files of configMap and secret volumes on the host, replaced all at once, as the kubelet's atomic writer does it.

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
from pathlib import Path, PurePosixPath

from vmsandbox.pod.volume_plan import File

_DATA = "..data"
_READ_BY_GROUP = 0o440
_PASSED_BY_GROUP = stat.S_ISGID | 0o550


def write_files(directory: Path, files: Mapping[str, File], group: int | None) -> None:
    """Make `directory` hold exactly these files; who reads meanwhile sees all of the old or all of the new.

    Args:
        directory: exists, and is written by this function alone.
        files: by their path below it.
        group: fsGroup, which may read them; None: root's.
    """
    version = directory / f"..{time.strftime('%Y_%m_%d_%H_%M_%S')}.{secrets.token_hex(4)}"
    _write_version(version, files, group)
    old = _current(directory)
    _replace_link(directory / _DATA, version.name)
    _link_names({PurePosixPath(path).parts[0] for path in files}, directory)
    if old:
        shutil.rmtree(directory / old, ignore_errors=True)


def _write_version(version: Path, files: Mapping[str, File], group: int | None) -> None:
    _make_directory(version, group)
    for path, file in files.items():
        for parent in reversed(PurePosixPath(path).parents[:-1]):
            if not (version / parent).is_dir():
                _make_directory(version / parent, group)
        _write(version / path, file, group)


def _make_directory(directory: Path, group: int | None) -> None:
    directory.mkdir()
    _own(directory, 0o755, group, _PASSED_BY_GROUP)


def _write(path: Path, file: File, group: int | None) -> None:
    path.touch(mode=0o600, exist_ok=False)
    path.write_bytes(file.content)
    _own(path, file.mode, group, _READ_BY_GROUP)


def _own(path: Path, mode: int, group: int | None, for_group: int) -> None:
    """chown first: it takes set-group-id away."""
    if group is not None:
        os.chown(path, -1, group)
        mode |= for_group
    path.chmod(mode)


def _current(directory: Path) -> str:
    with contextlib.suppress(FileNotFoundError):
        return str((directory / _DATA).readlink())
    return ""


def _replace_link(link: Path, target: str) -> None:
    new = link.with_name(f"{link.name}_tmp")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.rename(link)


def _link_names(names: set[str], directory: Path) -> None:
    present = {entry.name for entry in directory.iterdir() if not entry.name.startswith("..")}
    for name in names - present:
        (directory / name).symlink_to(f"{_DATA}/{name}")
    for name in present - names:
        (directory / name).unlink()
