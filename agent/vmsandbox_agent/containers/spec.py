"""The host's runtime-spec, completed by what only the guest knows (OCI runtime-spec, docs/protocol.md)."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vmsandbox.protocol.codec import JSON
from vmsandbox.protocol.messages import NO_IMAGE, CreateContainer, ProcessUser
from vmsandbox_agent import emulation
from vmsandbox_agent.containers.destinations import resolve_destinations
from vmsandbox_agent.errors import AgentError
from vmsandbox_agent.syscalls import open_in_root, opened


@dataclass(frozen=True, slots=True)
class Completion:
    """The guest's facts about a container that is about to be made."""

    root: Path
    user: ProcessUser
    cgroup: str
    tty: bool
    joined: Mapping[str, Path] = field(default_factory=dict)
    """Namespaces that it joins, by the kind that the runtime-spec calls them."""
    devices: Sequence[JSON] = ()
    device_rules: Sequence[JSON] = ()


def complete_spec(spec: JSON, known: Completion) -> dict[str, Any]:
    """The host's runtime-spec with root.path, process.user, the cgroup's default, namespaces and devices.

    Raises:
        AgentError: it has no process.
    """
    if not isinstance(spec, dict) or not isinstance(spec.get("process"), dict):
        raise AgentError("invalid_argument", "the runtime-spec has no process")
    return {
        **spec,
        "root": {**_object(spec, "root"), "path": str(known.root)},
        "process": complete_process(spec["process"], known.user, tty=known.tty),
        "linux": _linux({"cgroupsPath": known.cgroup, **_object(spec, "linux")}, known),
    }


def complete_process(process: JSON, user: ProcessUser, *, tty: bool) -> dict[str, Any]:
    """The host's runtime-spec process with its resolved user. Raises AgentError when it is not an object."""
    if not isinstance(process, dict):
        raise AgentError("invalid_argument", "the process of an exec is not an object")
    numbers = {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.groups)}
    process = {"oomScoreAdj": 0, **process}  # Without it, crun leaves the agent's.
    return {**process, "user": {**_object(process, "user"), **numbers}, "terminal": tty}  # The host may say a umask.


def cgroup_path(spec: JSON, container_id: str) -> str:
    """The cgroup that the spec asks for, relative to the hierarchy's root. Raises AgentError when it leads out."""
    path = _object(spec, "linux").get("cgroupsPath", f"/containers/{container_id}")
    if not isinstance(path, str) or ".." in path.split("/"):
        raise AgentError("invalid_argument", f"cgroupsPath {path!r} is not the path of a cgroup")
    return "/" + path.strip("/")


def oom_score(spec: JSON) -> int:
    """Return the oom_score_adj (proc(5)) that the spec gives to the container; 0 if it gives none."""
    score = _object(spec, "process").get("oomScoreAdj")
    return score if isinstance(score, int) else 0


def list_binds(spec: JSON) -> list[tuple[str, str]]:
    """Return source and destination of what the spec mounts."""
    mounts = [mount for mount in _list(spec, "mounts") if isinstance(mount, dict)]
    return [(str(mount.get("source", "")), str(mount.get("destination", ""))) for mount in mounts]


def used_images(request: CreateContainer, images: Path) -> frozenset[str]:
    """The serials of the images that a container is going to use: its root, and those that its spec mounts."""
    places = [path_below(images, source) for source, _ in list_binds(request.spec)]
    return frozenset({request.image_serial, *(place[0] for place in places if place)} - {NO_IMAGE})


def path_below(directory: Path, path: str) -> list[str]:
    """Return the names on the way from a directory to a path below it; none if it is not below it.

    By the texts alone: the objects of pathlib take as long as crun needs for a mount.
    """
    prefix = f"{directory}/"
    return [name for name in path[len(prefix) :].split("/") if name not in ("", ".")] if path.startswith(prefix) else []


def resolve_mounts(spec: JSON, images: Path, root: Path) -> JSON:
    """Return the spec with the true places of what it mounts from images, and of where it mounts things in `root`.

    No link leads out of an image, or of the root.

    Args:
        spec: the host's.
        images: holds a directory for each image.
        root: the container's.

    Raises:
        AgentError: nothing is there, or links lead in a circle.
    """
    if not isinstance(spec, dict):
        return spec
    mounts = [_resolve_source(mount, images) for mount in _list(spec, "mounts")]
    return {**spec, "mounts": resolve_destinations(mounts, root)}


def _resolve_source(mount: JSON, images: Path) -> JSON:
    found = path_below(images, str(_object({"": mount}, "").get("source", "")))
    if not found:
        return mount
    name, *path = found
    return {**mount, "source": str(_inside(images / name, "/".join(path)))}


def _inside(root: Path, path: str) -> Path:
    try:
        with opened(root) as directory:
            fd = open_in_root(directory, path or ".", os.O_PATH)
    except OSError as error:
        raise AgentError("invalid_argument", f"volume {root.name} has no {path or 'root'}: {error.strerror}") from None
    try:
        return Path(f"/proc/self/fd/{fd}").readlink()
    finally:
        os.close(fd)


def has_own_pids(request: CreateContainer) -> bool:
    """Whether the container's first process is the first of a PID namespace, so that the others end with it."""
    own = {"type": "pid"} in _list(_object(request.spec, "linux"), "namespaces")
    return own and not request.pid_namespace


def _linux(linux: dict[str, Any], known: Completion) -> dict[str, Any]:
    """`linux` with joined namespaces in the place of new ones, devices, and a personality, which crun's may not be."""
    joined = {kind: {"type": kind, "path": str(path)} for kind, path in known.joined.items()}
    kept = [entry for entry in _list(linux, "namespaces") if _object({"": entry}, "").get("type") not in joined]
    personality = linux.get("personality") or emulation.USUAL
    completed = {**linux, "personality": personality, "namespaces": [*joined.values(), *kept]}
    if known.devices:
        resources = _object(linux, "resources")
        completed["devices"] = [*_list(linux, "devices"), *known.devices]
        completed["resources"] = {**resources, "devices": [*_list(resources, "devices"), *known.device_rules]}
    return completed


def _object(parent: JSON, name: str) -> dict[str, Any]:
    found = parent.get(name) if isinstance(parent, dict) else None
    return found if isinstance(found, dict) else {}


def _list(parent: JSON, name: str) -> list[Any]:
    found = parent.get(name) if isinstance(parent, dict) else None
    return found if isinstance(found, list) else []
