"""Keep versions of the checkout in one directory of a host: `installer.py STEP DIRECTORY [VERSION [PART]]`.

    DIRECTORY/vmsandbox-lab      marks the directory as the laboratory's; without it nothing is removed
    DIRECTORY/lock               held while the setup command runs
    DIRECTORY/current            a link to the version that was set up last
    DIRECTORY/versions/VERSION   a checkout; `.lab-ready` in it: its setup command has succeeded
    DIRECTORY/versions/VERSION.PART   a checkout that is being unpacked, or whose unpacking broke off

Each step may be repeated. `begin` prints what `state` does, in its own line, and `unpacked` where VERSION is there;
else it prints `missing` and makes the directory VERSION.PART for it. `place` renames that, `discard` removes it.
`finish` makes VERSION the current one, and removes all others but the one before. `state` prints the current version
and whether it is ready. `remove` removes all.
"""

import contextlib
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

MARK = "vmsandbox-lab"
READY = ".lab-ready"
_STALE = 3600.0
"""Seconds after which a checkout that is being unpacked counts as broken off."""


def begin(directory: Path, version: str, part: str) -> None:
    """Make room for a version."""
    if directory.is_dir() and not (directory / MARK).exists() and any(directory.iterdir()):
        sys.exit(f"{directory} is in use for something else: choose another `directory`")
    versions = directory / "versions"
    versions.mkdir(parents=True, exist_ok=True)
    (directory / MARK).touch()
    state(directory)
    for found in versions.glob("*.*"):
        if time.time() - found.stat().st_mtime > _STALE:
            shutil.rmtree(found)
    if (versions / version).is_dir():
        print("unpacked")
    else:
        (versions / f"{version}.{part}").mkdir()
        print("missing")


def place(directory: Path, version: str, part: str) -> None:
    """Give the unpacked checkout its name. Somebody else may have been quicker with the same version."""
    unpacked, wanted = directory / "versions" / f"{version}.{part}", directory / "versions" / version
    try:
        unpacked.rename(wanted)
    except OSError:
        if not wanted.is_dir():
            raise
        shutil.rmtree(unpacked)


def discard(directory: Path, version: str, part: str) -> None:
    """Remove what was unpacked in part."""
    shutil.rmtree(directory / "versions" / f"{version}.{part}", ignore_errors=True)


def finish(directory: Path, version: str) -> None:
    """Make a version the current one. The version before it stays: its pods may run."""
    versions, current, link = directory / "versions", directory / "current", directory / "current.new"
    before = current.resolve().name if current.is_symlink() else version
    (versions / version / READY).touch()
    link.unlink(missing_ok=True)
    link.symlink_to(f"versions/{version}")
    link.replace(current)
    for found in versions.iterdir():
        if found.name not in (version, before) and "." not in found.name:
            shutil.rmtree(found)


def state(directory: Path) -> None:
    """Print the current version, and `ready` where its setup succeeded; an empty line where there is none."""
    current = directory / "current"
    ready = "ready" if (current / READY).exists() else "broken"
    print(f"{current.resolve().name} {ready}" if current.is_dir() else "")


def remove(directory: Path) -> None:
    """Remove the directory, where it is the laboratory's."""
    if not directory.exists():
        print("nothing")
        return
    if not (directory / MARK).exists():
        sys.exit(f"{directory} was not made by `lab up`: it stays")
    # The mark goes last, so that a removal that broke off can be repeated.
    for found in sorted(directory.iterdir(), key=lambda path: path.name == MARK):
        if found.is_dir() and not found.is_symlink():
            shutil.rmtree(found)
        else:
            found.unlink()
    with contextlib.suppress(OSError):  # it is a mount point
        directory.rmdir()
    print("removed")


STEPS: dict[str, Callable[..., None]] = {
    "begin": begin, "place": place, "discard": discard, "finish": finish, "state": state, "remove": remove,
}  # fmt: skip


def main(arguments: list[str]) -> None:
    """Take the step that the first argument names."""
    try:
        STEPS[arguments[0]](Path(arguments[1]), *arguments[2:])
    except OSError as error:
        sys.exit(f"{error.filename}: {error.strerror}")


if __name__ == "__main__":
    main(sys.argv[1:])
