"""The volumes that an image declares (OCI image-spec, `config.Volumes`): directories of the scratch disk.

Each begins with what the image has in its place, owners and modes included, as in containerd and docker. They are not
part of the container's overlay, so that they can be the upper directory of another one.
"""

import os
from pathlib import Path

from vmsandbox.protocol.codec import JSON
from vmsandbox_agent.containers.bundle import Bundle
from vmsandbox_agent.containers.destinations import resolve
from vmsandbox_agent.containers.spec import list_binds, path_below
from vmsandbox_agent.errors import AgentError
from vmsandbox_agent.reaper import Reaper, end_of


async def make_declared(spec: JSON, bundle: Bundle, owner: tuple[int, int], reaper: Reaper) -> None:
    """Make the sources of those mounts whose source is in `bundle.volumes`. What fails is the caller's to remove.

    Args:
        spec: the container's runtime-spec.
        bundle: its root is mounted, and nothing runs in it yet.
        owner: of a volume at a place that the image does not have.
        reaper: starts the program that copies.

    Raises:
        AgentError: the image has something else than a directory there, or the copy fails (the disk is full).
    """
    volumes = bundle.volumes
    for source, destination in list_binds(spec):
        if len(found := path_below(volumes, source)) == 1:
            volumes.mkdir(exist_ok=True)
            content, volume = _content(bundle.root, destination), volumes / found[0]
            await _copy(content, volume, reaper) if content else _make_empty(volume, owner)


def _content(root: Path, destination: str) -> Path | None:
    """Return the directory that the image has at a volume's place, None where it has nothing."""
    content = Path(f"{root}{resolve(destination, root)}")
    if content.is_dir():
        return content
    if os.path.lexists(content):
        raise AgentError("invalid_argument", f"the image declares a volume at {destination}, which is not a directory")
    return None


def _make_empty(volume: Path, owner: tuple[int, int]) -> None:
    volume.mkdir()
    os.chown(volume, *owner)


async def _copy(content: Path, volume: Path, reaper: Reaper) -> None:
    """Copy a tree with its owners, modes, times, links and special files, none of which is followed or opened."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)  # cp does not wait for a reader of its many complaints
    try:
        pid, ended = reaper.spawn(["busybox", "cp", "-a", str(content), str(volume)], null, null, writing)
        if code := await end_of(pid, ended):
            raise AgentError("resource_exhausted", f"a volume of the image cannot be filled: {_said(reading, code)}")
    finally:
        for fd in (null, reading, writing):
            os.close(fd)


def _said(fd: int, code: int) -> str:
    try:
        return os.read(fd, 1000).decode(errors="replace").strip()
    except BlockingIOError:
        return f"cp ended with status {code}"
