"""What crun reads of a container: its root (an overlay of the image and the scratch disk) and its config.json."""

import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vmsandbox.protocol.codec import JSON
from vmsandbox.protocol.messages import CreateContainer
from vmsandbox_agent import syscalls
from vmsandbox_agent.errors import AgentError
from vmsandbox_agent.settings import Settings


@dataclass(frozen=True, slots=True)
class Bundle:
    """The paths of a container; `layer` is on the scratch disk."""

    directory: Path
    layer: Path

    @classmethod
    def of(cls, settings: Settings, container_id: str) -> "Bundle":
        """Where the container of that id has its things."""
        return cls(settings.containers / container_id, settings.scratch / container_id)

    @property
    def root(self) -> Path:
        """The container's root directory."""
        return self.directory / "rootfs"

    def mount_root(self, image: Path) -> None:
        """Make the directories and mount the root over the read-only `image`."""
        upper, work = self.layer / "upper", self.layer / "work"
        for directory in (self.root, upper, work):
            directory.mkdir(parents=True)
        _copy_mode(image, upper)
        options = f"lowerdir={image},upperdir={upper},workdir={work}"
        syscalls.mount("overlay", str(self.root), "overlay", 0, options)

    def write(self, name: str, content: JSON) -> Path:
        """Write a JSON file into the bundle."""
        path = self.directory / name
        path.write_text(json.dumps(content))
        return path

    def remove(self) -> None:
        """Unmount the root and delete everything, as far as it exists."""
        import shutil  # its compression modules are not needed at the agent's start

        with contextlib.suppress(OSError):
            syscalls.unmount(str(self.root), syscalls.MNT_DETACH)
        for directory in (self.directory, self.layer):
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(directory)


def _copy_mode(image: Path, upper: Path) -> None:
    """The root directory of an overlay has the owner and the mode of its upper layer's."""
    status = image.stat()
    os.chown(upper, status.st_uid, status.st_gid)
    upper.chmod(status.st_mode & 0o7777)


def complete_spec(spec: JSON, root: Path, user: JSON, cgroup: str, *, tty: bool) -> dict[str, Any]:
    """The host's runtime-spec with what only the guest knows: root.path, process.user, the cgroup's default.

    Raises:
        AgentError: it has no process.
    """
    if not isinstance(spec, dict) or not isinstance(spec.get("process"), dict):
        raise AgentError("invalid_argument", "the runtime-spec has no process")
    return {
        **spec,
        "root": {**_object(spec, "root"), "path": str(root)},
        "process": {**spec["process"], "user": _merged(spec["process"], user), "terminal": tty},
        "linux": {"cgroupsPath": cgroup, **_object(spec, "linux")},
    }


def complete_process(process: JSON, user: JSON, *, tty: bool) -> dict[str, Any]:
    """The host's runtime-spec process with its resolved user. Raises AgentError when it is no object."""
    if not isinstance(process, dict):
        raise AgentError("invalid_argument", "the process of an exec is no object")
    return {**process, "user": _merged(process, user), "terminal": tty}


def cgroup_path(spec: JSON, container_id: str) -> str:
    """The cgroup that the spec asks for, relative to the hierarchy's root. Raises AgentError when it leads out."""
    path = _object(spec, "linux").get("cgroupsPath", f"/containers/{container_id}")
    if not isinstance(path, str) or ".." in path.split("/"):
        raise AgentError("invalid_argument", f"cgroupsPath {path!r} is no path of a cgroup")
    return "/" + path.strip("/")


def used_images(request: CreateContainer, images: Path) -> frozenset[str]:
    """The serials of the images that a container is going to use: its root, and those that its spec mounts."""
    mounts = request.spec.get("mounts", ()) if isinstance(request.spec, dict) else ()
    sources = [Path(str(mount.get("source", ""))) for mount in mounts if isinstance(mount, dict)]
    mounted = {source.relative_to(images).parts[0] for source in sources if images in source.parents}
    return frozenset({request.image_serial, *mounted})


def _merged(process: dict[str, Any], user: JSON) -> JSON:
    """The resolved user, with what the host says besides (umask)."""
    return {**_object(process, "user"), **user}


def _object(parent: JSON, name: str) -> dict[str, Any]:
    found = parent.get(name) if isinstance(parent, dict) else None
    return found if isinstance(found, dict) else {}
