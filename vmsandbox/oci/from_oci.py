"""A caller's config.json as the model's pod and container; a pure function.

The container's part goes to the guest as it is (`ContainerConfig.spec`), without what the host does; the model's other
fields repeat what the host has to know of it: sizes, binds, the user.
"""

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vmsandbox.errors import InvalidArgument, Unimplemented
from vmsandbox.model import (
    NETWORK_ANNOTATION,
    NO_NETWORK,
    ContainerConfig,
    ContainerMetadata,
    ContainerSecurity,
    Mount,
    PodSandboxConfig,
    PodSandboxMetadata,
    PropagationMode,
    Resources,
    SupplementalGroupsPolicy,
)
from vmsandbox.oci.fields import check_fields, guest_part
from vmsandbox.protocol import paths

NAMESPACE = "oci"
"""The Kubernetes namespace that the pods of this door have in lists."""

_GUEST_MOUNTS = frozenset({"proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2"})
_FOLLOWING = frozenset({"shared", "rshared", "slave", "rslave"})
_PROPAGATIONS = _FOLLOWING | {"private", "rprivate", "unbindable", "runbindable"}
_DEVICES = frozenset({"null", "zero", "full", "random", "urandom", "tty", "fuse", "net/tun"})
"""Devices below /dev without hardware, which have the same numbers in every kernel."""
_OWN_NAMESPACES = ("pid", "mount", "ipc", "uts", "network")
_NEEDED = ("pid", "ipc", "uts", "network")


@dataclass(frozen=True, slots=True)
class OciContainer:
    """A container that a caller asks for, and the pod of its machine."""

    pod: PodSandboxConfig
    container: ContainerConfig


def from_oci(container_id: str, root: str, bundle: str, config: Mapping[str, Any]) -> OciContainer:
    """Convert a config.json.

    Args:
        container_id: the caller's; unique below `root`.
        root: the directory of its containers (`--root`).
        bundle: the directory of config.json, to which paths in it are relative.
        config: the document.

    Raises:
        InvalidArgument: it contradicts itself, or is malformed.
        Unimplemented: it asks for what a machine cannot give, or not yet.
    """
    try:
        return _converted(container_id, root, bundle, config)
    except (TypeError, AttributeError, KeyError, ValueError) as error:
        raise InvalidArgument(f"config.json is malformed: {error!r}") from None


def _converted(container_id: str, root: str, bundle: str, config: Mapping[str, Any]) -> OciContainer:
    if not str(config.get("ociVersion", "")).startswith("1."):
        raise InvalidArgument(f"ociVersion {config.get('ociVersion')!r} is not a version 1")
    check_fields(config)
    linux = config.get("linux") or {}
    namespaces = _namespaces(linux.get("namespaces") or [])
    _check_devices(linux.get("devices") or [])
    mounts, binds = _mounts(config.get("mounts") or [], bundle)
    resources = _resources(config)
    network = namespaces["network"]
    pod = PodSandboxConfig(
        PodSandboxMetadata(container_id, root, NAMESPACE),
        hostname=str(config.get("hostname") or container_id[:12]),
        annotations={} if network else {NETWORK_ANNOTATION: NO_NETWORK},
        cgroup_parent=str(linux.get("cgroupsPath") or ""),
        sysctls=dict(linux.get("sysctl") or {}),
        resources=resources,
        network_namespace=network,
    )
    process = config["process"]
    user = process.get("user") or {}
    container = ContainerConfig(
        ContainerMetadata(container_id),
        image="",
        command=tuple(process.get("args") or ()),
        mounts=tuple(binds),
        annotations=dict(config.get("annotations") or {}),
        stdin=True,
        stdin_once=True,
        tty=bool(process.get("terminal")),
        resources=resources,
        security=ContainerSecurity(
            run_as_user=int(user.get("uid", 0)),
            run_as_group=int(user.get("gid", 0)),
            supplemental_groups=tuple(user.get("additionalGids") or ()),
            supplemental_groups_policy=SupplementalGroupsPolicy.STRICT,
        ),
        root=posixpath.join(bundle, config["root"]["path"]),
        spec=_guest_spec(config, mounts),
    )
    return OciContainer(pod, container)


def process_from_oci(process: Mapping[str, Any]) -> dict[str, Any]:
    """Return the process of an `exec` for the guest. Raises as `from_oci`."""
    if not isinstance(process, Mapping) or not process.get("args"):
        raise InvalidArgument("the process has no args")
    check_fields({"process": process})
    found: dict[str, Any] = guest_part({"process": process})["process"]
    return found


def _guest_spec(config: Mapping[str, Any], mounts: list[dict[str, Any]]) -> dict[str, Any]:
    spec: dict[str, Any] = guest_part(config)
    linux = {**spec.get("linux", {}), "namespaces": [{"type": kind} for kind in ("pid", "mount", "cgroup")]}
    return {**spec, "ociVersion": "1.0.2", "mounts": mounts, "linux": linux}


def _namespaces(wanted: list[Mapping[str, Any]]) -> dict[str, str]:
    """Return the path of each namespace, by its type. Raises Unimplemented for those of the host, or of others."""
    found = {str(each["type"]): str(each.get("path") or "") for each in wanted}
    for kind in _NEEDED:
        if kind not in found:
            raise Unimplemented(
                f"the container asks for the host's {kind} namespace, which a virtual machine cannot have",
                field="linux.namespaces",
            )
    for kind in found.keys() - {*_OWN_NAMESPACES, "cgroup"}:
        raise Unimplemented(f"namespaces of type {kind} are not supported yet", field="linux.namespaces")
    for kind in found.keys() - {"network"}:
        if found[kind]:
            raise Unimplemented(
                f"the container asks for the {kind} namespace {found[kind]} of another one: containers that share a "
                "machine are not supported yet",
                field="linux.namespaces",
            )
    return found


def _check_devices(devices: list[Mapping[str, Any]]) -> None:
    for device in devices:
        path = str(device["path"])
        if path.removeprefix("/dev/") not in _DEVICES:
            raise Unimplemented(f"{path} is a device of the host, which a machine cannot have", field="linux.devices")


def _mounts(wanted: list[Mapping[str, Any]], bundle: str) -> tuple[list[dict[str, Any]], list[Mount]]:
    """Return the mounts for the guest, where binds of the host have no source, and those binds."""
    mounts, binds = [], []
    for each in wanted:
        options = [str(option) for option in each.get("options") or ()]
        destination = posixpath.join("/", str(each["destination"]))
        if not _is_bind(each, options):
            if each.get("type") not in _GUEST_MOUNTS:
                raise Unimplemented(
                    f"the mount at {destination} has the type {each.get('type')!r}", field="mounts.type"
                )
            mounts.append({**each, "destination": destination})
        elif destination == "/dev/shm":
            mounts.append(_mount(destination, paths.SHM, options))
        else:
            binds.append(_bind(destination, posixpath.join(bundle, str(each["source"])), options))
            mounts.append(_mount(destination, "", options))
    return mounts, binds


def _is_bind(mount: Mapping[str, Any], options: list[str]) -> bool:
    return mount.get("type") in ("bind", "none") or "bind" in options or "rbind" in options


def _mount(destination: str, source: str, options: list[str]) -> dict[str, Any]:
    kept = [option for option in options if option not in _PROPAGATIONS and option not in ("bind", "rbind")]
    propagation = "rslave" if _FOLLOWING & set(options) else "rprivate"
    return {"destination": destination, "type": "bind", "source": source, "options": ["rbind", propagation, *kept]}


def _bind(destination: str, source: str, options: list[str]) -> Mount:
    follows = bool(_FOLLOWING & set(options))
    propagation = PropagationMode.HOST_TO_CONTAINER if follows else PropagationMode.PRIVATE
    return Mount(destination, source, readonly="ro" in options, propagation=propagation)


def _resources(config: Mapping[str, Any]) -> Resources:
    resources = (config.get("linux") or {}).get("resources") or {}
    memory, cpu = resources.get("memory") or {}, resources.get("cpu") or {}
    return Resources(
        cpu_period=int(cpu.get("period") or 0),
        cpu_quota=int(cpu.get("quota") or 0),
        cpu_shares=int(cpu.get("shares") or 0),
        memory_limit=int(memory.get("limit") or 0),
        memory_swap_limit=int(memory.get("swap") or 0),
        oom_score_adj=int(config["process"].get("oomScoreAdj") or 0),
        cpuset_cpus=str(cpu.get("cpus") or ""),
    )
