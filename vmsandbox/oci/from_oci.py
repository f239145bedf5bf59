"""A caller's config.json as the model's pod and container; a pure function.

The container's part goes to the guest as it is (`ContainerConfig.spec`), without what the host does; the model's other
fields repeat what the host has to know of it: sizes, binds, the user.
"""

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from vmsandbox.errors import InvalidArgument, Unimplemented
from vmsandbox.model import (
    NETWORK_ANNOTATION,
    NO_NETWORK,
    ContainerConfig,
    ContainerMetadata,
    ContainerSecurity,
    NamespaceMode,
    Namespaces,
    PodSandboxConfig,
    PodSandboxMetadata,
    Resources,
    SupplementalGroupsPolicy,
)
from vmsandbox.oci.fields import check_fields, guest_part
from vmsandbox.oci.limits import resources_from_oci
from vmsandbox.oci.membership import membership
from vmsandbox.oci.mounts import MountsFrom
from vmsandbox.oci.pods import Place
from vmsandbox.oci.shm import DEFAULT_SHM
from vmsandbox.oci.users import user_namespace_of

_DEVICES = frozenset({"null", "zero", "full", "random", "urandom", "tty", "fuse", "net/tun"})
"""Devices below /dev without hardware, which have the same numbers in every kernel."""
_NEEDED = ("pid", "ipc", "uts", "network")
_KNOWN = frozenset({*_NEEDED, "mount", "cgroup", "user"})


@dataclass(frozen=True, slots=True)
class OciContainer:
    """A container that a caller asks for."""

    pod: PodSandboxConfig
    """The pod of its machine, where that is to be made."""
    container: ContainerConfig


def from_oci(
    place: Place, container_id: str, bundle: str, config: Mapping[str, Any], shm_size: int = DEFAULT_SHM
) -> OciContainer:
    """Convert a config.json.

    Args:
        place: where the container is to be.
        container_id: the caller's.
        bundle: the directory of config.json, to which paths in it are relative.
        config: the document.
        shm_size: bytes of /dev/shm.

    Raises:
        InvalidArgument: it contradicts itself, or is malformed.
        Unimplemented: it asks for what a machine cannot give, or not yet.
    """
    try:
        return _converted(place, container_id, bundle, config, shm_size)
    except (TypeError, AttributeError, KeyError, ValueError) as error:
        raise InvalidArgument(f"config.json is malformed: {error!r}") from None


def _converted(place: Place, container_id: str, bundle: str, config: Mapping[str, Any], shm_size: int) -> OciContainer:
    if not str(config.get("ociVersion", "")).startswith("1."):
        raise InvalidArgument(f"ociVersion {config.get('ociVersion')!r} is not a version 1")
    check_fields(config)
    linux = config.get("linux") or {}
    namespaces = _namespaces(linux.get("namespaces") or [], place)
    _check_devices(linux.get("devices") or [])
    _check_sysctls(linux.get("sysctl") or {}, place)
    own = _own_namespaces(namespaces, place)
    users = user_namespace_of(linux, namespaces, place)
    conversion = MountsFrom(bundle, users, own_shm=shm_size if "ipc" in own else 0)
    mounts, binds = conversion.convert(config.get("mounts") or [])
    adjusted = int(config["process"].get("oomScoreAdj") or 0)
    resources = resources_from_oci(linux.get("resources") or {}, adjusted)
    container = ContainerConfig(
        ContainerMetadata(container_id),
        image="",
        command=tuple(config["process"].get("args") or ()),
        mounts=tuple(binds),
        annotations=dict(config.get("annotations") or {}),
        stdin=True,
        stdin_once=True,
        tty=bool(config["process"].get("terminal")),
        resources=resources,
        security=_security(config["process"].get("user") or {}, place),
        root=posixpath.join(bundle, config["root"]["path"]),
        spec=_guest_spec(config, mounts, own),
    )
    pod = _pod(place, container_id, config, namespaces["network"], resources)
    return OciContainer(replace(pod, shm_size=shm_size, namespaces=Namespaces(user=users)), container)


def _pod(
    place: Place, container_id: str, config: Mapping[str, Any], network: str, resources: Resources
) -> PodSandboxConfig:
    declared, linux = place.membership.declared, config.get("linux") or {}
    return PodSandboxConfig(
        place.pod,
        hostname=str(config.get("hostname") or container_id[:12]),
        annotations={} if network else {NETWORK_ANNOTATION: NO_NETWORK},
        cgroup_parent=_cgroup_parent(place, str(linux.get("cgroupsPath") or "")),
        sysctls=dict(linux.get("sysctl") or {}),
        resources=resources if declared is None else declared,
        runtime_handler=place.membership.handler,
        network_namespace=network,
        late_network=not network,
    )


def _cgroup_parent(place: Place, path: str) -> str:
    """Return where the machine is charged: with the container that it is made for, else with all those of its pod."""
    without_sandbox = place.membership.pod and not place.membership.is_sandbox
    return posixpath.dirname(path) if without_sandbox else path


def _security(user: Mapping[str, Any], place: Place) -> ContainerSecurity:
    return ContainerSecurity(
        namespaces=_joined_processes(place),
        run_as_user=int(user.get("uid", 0)),
        run_as_group=int(user.get("gid", 0)),
        supplemental_groups=tuple(user.get("additionalGids") or ()),
        supplemental_groups_policy=SupplementalGroupsPolicy.STRICT,
    )


def _joined_processes(place: Place) -> Namespaces:
    if place.processes_of:
        return Namespaces(pid=NamespaceMode.TARGET, target_id=place.processes_of)
    return Namespaces(pid=NamespaceMode.POD) if "pid" in place.shared else Namespaces()


def pod_from_oci(name: PodSandboxMetadata, config: Mapping[str, Any]) -> PodSandboxConfig:
    """Convert the config.json of a pod's sandbox that has no process: its machine's part alone. Raises as `from_oci`.

    Args:
        name: of the pod.
        config: the document; its `linux.cgroupsPath` is that of the pod.
    """
    try:
        check_fields(config)
        linux, annotations = config.get("linux") or {}, config.get("annotations") or {}
        place = Place(name, membership=membership(name.name, annotations))
        namespaces = _namespaces(linux.get("namespaces") or [], place)
        if "user" in namespaces:
            raise Unimplemented(
                "a pod with a user namespace needs a runtime of `vmsandbox-oci`", field="linux.namespaces"
            )
        limits = resources_from_oci(linux.get("resources") or {})
        return replace(_pod(place, name.name, config, namespaces["network"], limits), late_network=False, lasting=True)
    except (TypeError, AttributeError, KeyError, ValueError) as error:
        raise InvalidArgument(f"config.json is malformed: {error!r}") from None


def process_from_oci(process: Mapping[str, Any]) -> dict[str, Any]:
    """Return the process of an `exec` for the guest. Raises as `from_oci`."""
    if not isinstance(process, Mapping) or not process.get("args"):
        raise InvalidArgument("the process has no args")
    check_fields({"process": process})
    found: dict[str, Any] = guest_part({"process": process})["process"]
    return found


def _guest_spec(config: Mapping[str, Any], mounts: list[dict[str, Any]], own: frozenset[str]) -> dict[str, Any]:
    spec: dict[str, Any] = guest_part(config)
    kinds = ("pid", "mount", "cgroup", *sorted(own))
    linux = {**spec.get("linux", {}), "namespaces": [{"type": kind} for kind in kinds]}
    if "uts" in own and config.get("hostname"):
        spec["hostname"] = str(config["hostname"])
    return {**spec, "ociVersion": "1.0.2", "mounts": mounts, "linux": linux}


def _namespaces(wanted: list[Mapping[str, Any]], place: Place) -> dict[str, str]:
    """Return the path of each namespace, by its type. Raises Unimplemented for those that its machine does not have."""
    found = {str(each["type"]): str(each.get("path") or "") for each in wanted}
    for kind in _NEEDED:
        if kind not in found:
            raise Unimplemented(
                f"the container asks for the host's {kind} namespace, which a virtual machine cannot have",
                field="linux.namespaces",
            )
    for kind in found.keys() - _KNOWN:
        raise Unimplemented(f"namespaces of type {kind} are not supported", field="linux.namespaces")
    if place.sandbox is not None and "network" not in place.shared:
        raise Unimplemented(
            "the container has a network of its own: containers that share a machine share its network",
            field="linux.namespaces",
        )
    for kind, path in found.items():
        if path and not _is_the_machines(kind, place):
            raise Unimplemented(
                f"the container asks for the {kind} namespace {path}, which its machine does not have: it is of "
                "a process in another machine, or in none",
                field="linux.namespaces",
            )
    return found


def _is_the_machines(kind: str, place: Place) -> bool:
    """Whether the machine has, or is given, a namespace of the host.

    A pod that begins is given those that its caller keeps for it by files (CRI-O), in which no container runs.
    """
    if kind == "pid":
        return bool(place.processes_of) or kind in place.shared
    if kind == "user":
        return True  # It is made for the machine, or compared with that of the machine: `user_namespace_of`.
    if place.sandbox is not None:
        return kind in place.shared
    return kind == "network" or place.membership.is_sandbox or bool(place.membership.pod)


def _own_namespaces(namespaces: Mapping[str, str], place: Place) -> frozenset[str]:
    """Return the types of namespaces that the container does not share with the others in its machine."""
    if place.sandbox is None:
        return frozenset()
    return frozenset(kind for kind in ("ipc", "uts") if not namespaces[kind])


def _check_sysctls(wanted: Mapping[str, Any], place: Place) -> None:
    has = place.sandbox.config.sysctls if place.sandbox is not None else wanted
    for name, value in wanted.items():
        if has.get(name) != value:
            raise Unimplemented(
                f"{name} is {value} in config.json: it is the machine's, which other containers have too",
                field="linux.sysctl",
            )


def _check_devices(devices: list[Mapping[str, Any]]) -> None:
    paths_of_devices = (str(device["path"]) for device in devices)
    refused = [path for path in paths_of_devices if path.removeprefix("/dev/") not in _DEVICES]
    if refused:
        others = f"; so are {len(refused) - 1} others: a privileged container asks for all" if refused[1:] else ""
        raise Unimplemented(
            f"{refused[0]} is a device of the host, which a machine cannot have{others}", field="linux.devices"
        )
