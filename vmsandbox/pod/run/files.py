"""Files of configMap and secret volumes on the host, replaced all at once, as the kubelet's atomic writer does it.

..2026_11_24_14_30_05.x8k2/app/settings    the files of one version
..data -> ..2026_11_24_14_30_05.x8k2       renamed into place: the one step that changes what a container sees
app -> ..data/app                          what the container opens
"""

import contextlib
import secrets
import shutil
import time
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from vmsandbox.pod.plan.volume_plan import File
from vmsandbox.pod.run.ownership import Owner

_DATA = "..data"


def write_files(directory: Path, files: Mapping[str, File], owner: Owner) -> None:
    """Make `directory` hold exactly these files; who reads meanwhile sees all of the old or all of the new.

    Args:
        directory: exists, and is written by this function alone.
        files: by their path below it.
        owner: of the files.
    """
    version = directory / f"..{time.strftime('%Y_%m_%d_%H_%M_%S')}.{secrets.token_hex(4)}"
    _write_version(version, files, owner)
    old = _current(directory)
    _replace_link(directory / _DATA, version.name)
    _link_names({PurePosixPath(path).parts[0] for path in files}, directory)
    if old:
        shutil.rmtree(directory / old, ignore_errors=True)


def _write_version(version: Path, files: Mapping[str, File], owner: Owner) -> None:
    _make_directory(version, owner)
    for path, file in files.items():
        for parent in reversed(PurePosixPath(path).parents[:-1]):
            if not (version / parent).is_dir():
                _make_directory(version / parent, owner)
        _write(version / path, file, owner)


def _make_directory(directory: Path, owner: Owner) -> None:
    directory.mkdir()
    owner.take(directory, 0o755, writable=False)


def _write(path: Path, file: File, owner: Owner) -> None:
    path.touch(mode=0o600, exist_ok=False)
    path.write_bytes(file.content)
    owner.take(path, file.mode, writable=False)


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
