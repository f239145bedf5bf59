"""securityContext of pod and container, as in the CRI; the defaults are the kubelet's."""

from dataclasses import replace
from pathlib import Path

from vmsandbox.model import (
    ContainerSecurity,
    IdMapping,
    ImageConfig,
    NamespaceMode,
    Namespaces,
    SecurityProfile,
    SupplementalGroupsPolicy,
    UserNamespace,
)
from vmsandbox.pod.api import Container, GroupsPolicy, PodSpec, ProcMount, Profile, ProfileType

MASKED_PATHS = (
    "/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
    "/sys/devices/virtual/powercap",
)  # fmt: skip
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

_KINDS = {
    ProfileType.RUNTIME_DEFAULT: "runtime_default",
    ProfileType.UNCONFINED: "unconfined",
    ProfileType.LOCALHOST: "localhost",
}
_RANGE = 65536
_MAPPED = (IdMapping(host_id=_RANGE, container_id=0, length=_RANGE),)
"""The second 65536 ids of the machine, the only pod of which has them for itself."""


def owner(spec: PodSpec) -> int:
    """The user and group id that root of the pod's containers has in its machine: what belongs to root is theirs."""
    return 0 if spec.host_users else _RANGE


def namespaces(spec: PodSpec) -> Namespaces:
    """CRI NamespaceOption of sandbox and containers."""
    pid = NamespaceMode.POD if spec.share_process_namespace else NamespaceMode.CONTAINER
    return Namespaces(
        network=NamespaceMode.NODE if spec.host_network else NamespaceMode.POD,
        pid=NamespaceMode.NODE if spec.host_pid else pid,
        ipc=NamespaceMode.NODE if spec.host_ipc else NamespaceMode.POD,
        user=None if spec.host_users else UserNamespace(uids=_MAPPED, gids=_MAPPED),
    )


def container_security(spec: PodSpec, container: Container, seccomp_directory: Path) -> ContainerSecurity:
    """CRI LinuxContainerSecurityContext of a container.

    Raises:
        InvalidArgument: a profile is malformed.
    """
    pod, own = spec.security_context, container.security_context
    masked = own.proc_mount is ProcMount.DEFAULT and not own.privileged
    groups = () if pod.fs_group is None else (pod.fs_group,)
    return ContainerSecurity(
        privileged=own.privileged,
        add_capabilities=own.capabilities.add,
        drop_capabilities=own.capabilities.drop,
        namespaces=namespaces(spec),
        run_as_user=_first(own.run_as_user, pod.run_as_user),
        run_as_group=_first(own.run_as_group, pod.run_as_group),
        supplemental_groups=tuple(dict.fromkeys((*groups, *pod.supplemental_groups))),
        supplemental_groups_policy=(
            SupplementalGroupsPolicy.STRICT
            if pod.supplemental_groups_policy is GroupsPolicy.STRICT
            else SupplementalGroupsPolicy.MERGE
        ),
        readonly_rootfs=own.read_only_root_filesystem,
        no_new_privs=own.allow_privilege_escalation is False,
        masked_paths=MASKED_PATHS if masked else (),
        readonly_paths=READONLY_PATHS if masked else (),
        seccomp=_seccomp(own.seccomp_profile or pod.seccomp_profile, seccomp_directory),
        apparmor=_profile(own.app_armor_profile or pod.app_armor_profile),
    )


def with_image_user(security: ContainerSecurity, image: ImageConfig) -> ContainerSecurity:
    """The same, with the image's user where a group is given without one: the CRI wants both."""
    if security.run_as_group is None or security.run_as_user is not None:
        return security
    user = image.user.partition(":")[0] or "0"
    return replace(security, run_as_user=int(user)) if user.isdecimal() else replace(security, run_as_username=user)


def must_not_be_root(spec: PodSpec, container: Container) -> bool:
    """runAsNonRoot."""
    own = container.security_context.run_as_non_root
    return bool(spec.security_context.run_as_non_root if own is None else own)


def _first(own: int | None, pod: int | None) -> int | None:
    return pod if own is None else own


def _seccomp(profile: Profile | None, directory: Path) -> SecurityProfile:
    found = _profile(profile)
    if profile is None or found.kind != "localhost" or not found.path:
        return found
    if found.path.startswith("/") or ".." in Path(found.path).parts:
        raise profile.at.of("localhostProfile").error("the profile is a path below the directory of seccomp profiles")
    return replace(found, path=str(directory / found.path))


def _profile(profile: Profile | None) -> SecurityProfile:
    if profile is None:
        return SecurityProfile("unconfined")
    return SecurityProfile(_KINDS[profile.type], profile.localhost_profile)
