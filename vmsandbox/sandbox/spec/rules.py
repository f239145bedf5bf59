"""The rules that a pod and its containers are held to, whichever door they come by; checked before anything is made.

An error names the pod or container, and the field of the model that breaks the rule (`VmsandboxError.field`).
"""

import contextlib
from collections.abc import Iterator
from pathlib import PurePosixPath

from vmsandbox.errors import InvalidArgument, Unimplemented, VmsandboxError
from vmsandbox.model import (
    NETWORK_ANNOTATION,
    NO_NETWORK,
    ContainerConfig,
    ContainerSecurity,
    Mount,
    NamespaceMode,
    PodSandboxConfig,
    PropagationMode,
    Resources,
    SecurityProfile,
    UserNamespace,
)
from vmsandbox.protocol import messages
from vmsandbox.sandbox.spec.limits import check_resources

LONGEST_HOSTNAME = 63
"""Characters, as of a label in DNS; Linux takes one more."""


def check_pod(config: PodSandboxConfig) -> None:
    """Raise InvalidArgument for a pod that contradicts itself, or that cannot be a virtual machine."""
    metadata = config.metadata
    with _named(f"pod {metadata.namespace}/{metadata.name}"):
        if not (metadata.name and metadata.namespace and metadata.uid):
            raise InvalidArgument("the metadata lacks the name, namespace or uid", field="metadata")
        _check_declaration(config)
        _check_network(config)
        if len(config.hostname) > LONGEST_HOSTNAME:
            raise InvalidArgument(
                f"a hostname has at most {LONGEST_HOSTNAME} characters: {config.hostname}", field="hostname"
            )
        if user_namespace(config) and NamespaceMode.NODE in (config.namespaces.pid, config.namespaces.ipc):
            raise InvalidArgument(
                "a pod with a user namespace cannot share the processes or the IPC of its node", field="namespaces.user"
            )


def check_declaration(config: PodSandboxConfig) -> None:
    """Raise InvalidArgument for resources or an overhead that a pod cannot declare."""
    with _named(f"pod {config.metadata.namespace}/{config.metadata.name}"):
        _check_declaration(config)


def check_container(config: ContainerConfig, pod: PodSandboxConfig) -> None:
    """Raise an error for a container that contradicts itself, or asks for what the guest does not have.

    Raises:
        InvalidArgument: it has no name or image; its log, a variable, a mount, its user or its limits are not valid; it
            is privileged, and its pod is not (CRI LinuxSandboxSecurityContext).
        Unimplemented: a device of the host (CDI), huge pages, a profile of AppArmor.
    """
    with _named(f"container {config.metadata.name}"):
        _check_names(config)
        _check_security(config.security, pod)
        _check_resources(config.resources)
        for index, mount in enumerate(config.mounts):
            _check_mount(mount, f"mounts[{index}]")
        if config.cdi_devices:
            raise Unimplemented(
                f"the CDI devices {', '.join(config.cdi_devices)} are devices of the host, which a machine cannot have",
                field="cdi_devices",
            )


def check_update(config: ContainerConfig, resources: Resources) -> None:
    """Raise InvalidArgument for limits that the container of this configuration cannot have."""
    with _named(f"container {config.metadata.name}"):
        check_resources(resources)


def user_namespace(config: PodSandboxConfig) -> messages.UserNamespaceMapping | None:
    """The pod's user namespace, as the agent is told of it; None where it has none.

    Raises:
        InvalidArgument: a mode or mappings that the CRI does not allow (UserNamespace).
    """
    wanted = config.namespaces.user
    if wanted is None or wanted.mode is NamespaceMode.NODE:
        return None
    if wanted.mode is not NamespaceMode.POD:
        raise InvalidArgument(
            f"the user namespace mode {wanted.mode.value} is not valid: use POD or NODE", field="namespaces.user"
        )
    _check_mappings(wanted)
    (uids,), (gids,) = wanted.uids, wanted.gids
    return messages.UserNamespaceMapping(uids.host_id, uids.length, gids.host_id, gids.length)


@contextlib.contextmanager
def _named(whose: str) -> Iterator[None]:
    try:
        yield
    except VmsandboxError as error:
        error.at(whose)
        raise


def _check_declaration(config: PodSandboxConfig) -> None:
    check_resources(config.resources)
    with _named("overhead"):
        check_resources(config.overhead, "overhead")


def _check_network(config: PodSandboxConfig) -> None:
    if config.namespaces.network is NamespaceMode.NODE:
        raise InvalidArgument(
            "a virtual machine cannot have the host's network",
            hint="remove hostNetwork, or have a delegate runtime run the pod: docs/kubernetes.md",
            field="namespaces.network",
        )
    wanted = config.annotations.get(NETWORK_ANNOTATION, NO_NETWORK)
    if wanted != NO_NETWORK:
        raise InvalidArgument(
            f"{wanted[:80]!r} is not a valid value of the annotation {NETWORK_ANNOTATION}",
            hint=f"its one value is {NO_NETWORK!r}; without the annotation a pod is on the node's network",
            field="annotations",
        )
    if config.networkless and any(mapping.host_port for mapping in config.port_mappings):
        raise InvalidArgument(
            "a pod without a network cannot have a port of the host",
            hint=f"remove the port, which `vmsandbox port-forward` reaches all the same, or {NETWORK_ANNOTATION}",
            field="port_mappings",
        )


def _check_names(config: ContainerConfig) -> None:
    if not config.metadata.name:
        raise InvalidArgument("the metadata lacks the name", field="metadata.name")
    if not (config.image or config.root):
        raise InvalidArgument("the request names no image", field="image")
    if config.image and config.root:
        raise InvalidArgument("the request names both an image and a root directory", field="root")
    log_path = PurePosixPath(config.log_path)
    if log_path.is_absolute() or ".." in log_path.parts:
        raise InvalidArgument(f"log_path {config.log_path!r} leads out of log_directory", field="log_path")
    for name, value in config.envs.items():
        if not name or "=" in name or "\0" in name + value:
            raise InvalidArgument(f"{name!r} cannot be an environment variable", field="envs")


def _check_security(security: ContainerSecurity, pod: PodSandboxConfig) -> None:
    if security.privileged and not pod.privileged:
        raise InvalidArgument("it is privileged, and its pod is not", field="security.privileged")
    if security.run_as_user is not None and security.run_as_username:
        raise InvalidArgument("both run_as_user and run_as_username are set", field="security.run_as_user")
    if security.run_as_group is not None and security.run_as_user is None and not security.run_as_username:
        raise InvalidArgument(
            "run_as_group is set without run_as_user or run_as_username", field="security.run_as_group"
        )
    _check_profile(security.seccomp, "security.seccomp")
    _check_profile(security.apparmor, "security.apparmor")
    if security.apparmor.kind == "localhost" and not security.privileged:
        raise Unimplemented(
            f"the AppArmor profile {security.apparmor.path} does not exist in the machine, which has no profiles",
            hint="use RuntimeDefault or Unconfined: the machine itself confines the pod",
            field="security.apparmor",
        )


def _check_profile(profile: SecurityProfile, field: str) -> None:
    if (profile.kind == "localhost") != bool(profile.path):
        raise InvalidArgument("a security profile has a path if and only if its type is Localhost", field=field)


def _check_resources(resources: Resources) -> None:
    check_resources(resources)
    if sizes := [size for size, limit in resources.hugepage_limits.items() if limit]:
        raise Unimplemented(f"its machine has no huge pages ({', '.join(sizes)})", field="resources.hugepage_limits")


def _check_mount(mount: Mount, field: str) -> None:
    """Check the rules of the CRI for a mount (Mount)."""
    path = mount.container_path
    if not path.startswith("/"):
        raise InvalidArgument(f"the mount path {path!r} is not absolute", field=f"{field}.container_path")
    if sum(map(bool, (mount.host_path, mount.image, mount.tmpfs))) != 1:
        raise InvalidArgument(f"the mount at {path} needs either a host_path or an image", field=field)
    if mount.recursive_read_only and not (mount.readonly and mount.propagation is PropagationMode.PRIVATE):
        raise InvalidArgument(
            f"the mount at {path} is recursive_read_only, so it has to be readonly and private",
            field=f"{field}.recursive_read_only",
        )
    if mount.image and not mount.readonly:
        raise InvalidArgument(f"the image volume at {path} has to be read-only", field=f"{field}.readonly")
    if ".." in mount.image_sub_path.split("/"):
        raise InvalidArgument(
            f"the path {mount.image_sub_path} leads out of the image volume at {path}", field=f"{field}.image_sub_path"
        )


def _check_mappings(wanted: UserNamespace) -> None:
    field = "namespaces.user"
    if (len(wanted.uids), len(wanted.gids)) != (1, 1):
        raise InvalidArgument("a user namespace has exactly one mapping of uids, and one of gids", field=field)
    for mapping in (*wanted.uids, *wanted.gids):
        if mapping.container_id != 0 or mapping.length < 1:
            raise InvalidArgument("the mapping of a user namespace begins with id 0 in the container", field=field)
    if wanted.uids != wanted.gids:
        raise InvalidArgument("a user namespace maps gids as it maps uids", field=field)
