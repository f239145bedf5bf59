"""The checks of features that no machine has; they are refused before anything is made."""

from vmsandbox.errors import InvalidArgument, Unimplemented
from vmsandbox.model import ContainerConfig, Mount, NamespaceMode, PodSandboxConfig, PropagationMode, UserNamespace
from vmsandbox.protocol import messages
from vmsandbox.sandbox.spec.limits import check_resources

LONGEST_HOSTNAME = 63
"""Characters, as of a label in DNS; Linux takes one more."""


def check_pod(config: PodSandboxConfig) -> None:
    """Raise InvalidArgument for a pod that a virtual machine cannot be."""
    pod = f"pod {config.metadata.namespace}/{config.metadata.name}"
    check_resources(config.resources, pod)
    check_resources(config.overhead, f"{pod}, overhead")
    if config.namespaces.network is NamespaceMode.NODE:
        raise InvalidArgument(
            f"{pod}: a virtual machine cannot have the host's network",
            hint="remove hostNetwork, or have a delegate runtime run the pod: docs/kubernetes.md",
        )
    if len(config.hostname) > LONGEST_HOSTNAME:
        raise InvalidArgument(f"{pod}: a hostname has at most {LONGEST_HOSTNAME} characters: {config.hostname}")
    if user_namespace(config) and config.namespaces.pid is NamespaceMode.NODE:
        raise InvalidArgument(f"{pod}: with a user namespace it cannot share the processes of its node")


def check_container(config: ContainerConfig, pod: PodSandboxConfig) -> None:
    """Raise an error for a container that asks for what the guest does not have.

    Raises:
        InvalidArgument: it is privileged, and its pod is not (CRI LinuxSandboxSecurityContext); its limits cannot be.
        Unimplemented: a device of the host (CDI), huge pages, a profile of AppArmor.
    """
    container = f"container {config.metadata.name}"
    check_resources(config.resources, container)
    if config.security.privileged and not pod.privileged:
        raise InvalidArgument(f"{container} is privileged, and its pod is not")
    if config.cdi_devices:
        raise Unimplemented(
            f"{container}: the CDI devices {', '.join(config.cdi_devices)} are devices of the host, which a machine "
            f"cannot have"
        )
    if sizes := [size for size, limit in config.resources.hugepage_limits.items() if limit]:
        raise Unimplemented(f"{container}: its machine has no huge pages ({', '.join(sizes)})")
    if config.security.apparmor.kind == "localhost" and not config.security.privileged:
        raise Unimplemented(
            f"{container}: the AppArmor profile {config.security.apparmor.path} does not exist in the machine, which "
            f"has no profiles",
            hint="use RuntimeDefault or Unconfined: the machine itself confines the pod",
        )


def user_namespace(config: PodSandboxConfig) -> messages.UserNamespace | None:
    """The pod's user namespace, as the agent is told of it; None where it has none.

    Raises:
        InvalidArgument: a mode or mappings that the CRI does not allow (UserNamespace).
    """
    wanted = config.namespaces.user
    if wanted is None or wanted.mode is NamespaceMode.NODE:
        return None
    if wanted.mode is not NamespaceMode.POD:
        raise InvalidArgument(f"the user namespace mode {wanted.mode.value} is not valid: use POD or NODE")
    _check_mappings(wanted)
    (uids,), (gids,) = wanted.uids, wanted.gids
    return messages.UserNamespace(uids.host_id, uids.length, gids.host_id, gids.length)


def check_mount(mount: Mount) -> None:
    """Raise InvalidArgument for a mount that cannot be made as the CRI has it (Mount)."""
    path = mount.container_path
    if not path.startswith("/"):
        raise InvalidArgument(f"the mount path {path!r} is not absolute")
    if mount.recursive_read_only and not mount.readonly:
        raise InvalidArgument(f"the mount at {path} asks for recursive read-only, but is not read-only")
    if mount.recursive_read_only and mount.propagation is not PropagationMode.PRIVATE:
        raise InvalidArgument(f"the mount at {path} asks for recursive read-only, and for propagation")
    if mount.image and not mount.readonly:
        raise InvalidArgument(f"the image volume at {path} has to be read-only")
    if ".." in mount.image_sub_path.split("/"):
        raise InvalidArgument(f"the path {mount.image_sub_path} leads out of the image volume at {path}")


def _check_mappings(wanted: UserNamespace) -> None:
    if (len(wanted.uids), len(wanted.gids)) != (1, 1):
        raise InvalidArgument("a user namespace has exactly one mapping of uids, and one of gids")
    for mapping in (*wanted.uids, *wanted.gids):
        if mapping.container_id != 0 or mapping.length < 1:
            raise InvalidArgument("the mapping of a user namespace begins with id 0 in the container")
    if wanted.uids != wanted.gids:
        raise InvalidArgument("a user namespace maps gids as it maps uids")
