"""The checkout as it is sent to hosts: the files that git tracks, as they are now, in one compressed tar."""

import gzip
import hashlib
import io
import os
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from vmsandbox.errors import FailedPrecondition


@dataclass(frozen=True, slots=True)
class Checkout:
    """A checkout, and its name on hosts."""

    version: str
    """The version of the content: the same files have the same version."""
    archive: bytes
    """A .tar.gz."""


def own_checkout() -> Path:
    """The checkout that this program runs from, or would run from."""
    return Path(__file__).parents[2]


def pack(directory: Path) -> Checkout:
    """The tracked files of a git checkout, with changes that are not committed; nothing that git does not track.

    Raises:
        FailedPrecondition: the directory is not the top of a checkout, or git cannot say what it tracks.
    """
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in _tracked(directory):
            if os.path.lexists(directory / name):  # else it is removed, and that is not committed
                tar.add(directory / name, name, recursive=False, filter=_plain)
    data = content.getvalue()
    return Checkout(hashlib.sha256(data).hexdigest()[:16], gzip.compress(data, compresslevel=6, mtime=0))


def _tracked(directory: Path) -> list[str]:
    if not (directory / ".git").exists():
        raise FailedPrecondition(
            f"{directory} is not a git checkout of vmsandbox", hint="--checkout DIRECTORY names the one to install"
        )
    listed = subprocess.run(
        ["git", "-C", str(directory), "ls-files", "-z"], capture_output=True, check=False, timeout=60
    )
    if listed.returncode:
        raise FailedPrecondition(f"git cannot list {directory}: {listed.stderr.decode(errors='replace').strip()}")
    return sorted(filter(None, os.fsdecode(listed.stdout).split("\0")))


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without whatever differs from one clone to the next."""
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    member.mode = 0o755 if member.mode & 0o100 else 0o644
    return member
