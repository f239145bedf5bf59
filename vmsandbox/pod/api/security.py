"""core/v1: PodSecurityContext, SecurityContext and what they hold."""

import enum
from dataclasses import dataclass, field
from typing import ClassVar

from vmsandbox.typed_yaml import Located

_SELINUX = "the guest has no SELinux"
_WINDOWS = "pods are Linux machines"


class ProfileType(enum.Enum):
    """SeccompProfileType and AppArmorProfileType."""

    RUNTIME_DEFAULT = "RuntimeDefault"
    UNCONFINED = "Unconfined"
    LOCALHOST = "Localhost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile(Located):
    """SeccompProfile, AppArmorProfile."""

    type: ProfileType
    localhost_profile: str = ""


class GroupsPolicy(enum.Enum):
    """SupplementalGroupsPolicy."""

    MERGE = "Merge"
    STRICT = "Strict"


class ProcMount(enum.Enum):
    """ProcMountType."""

    DEFAULT = "Default"
    UNMASKED = "Unmasked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sysctl(Located):
    """Sysctl."""

    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSecurityContext(Located):
    """PodSecurityContext."""

    REFUSED: ClassVar = {"seLinuxOptions": _SELINUX, "windowsOptions": _WINDOWS}
    IGNORED: ClassVar = frozenset({"fsGroupChangePolicy", "seLinuxChangePolicy"})

    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    fs_group: int | None = None
    supplemental_groups: tuple[int, ...] = ()
    supplemental_groups_policy: GroupsPolicy | None = None
    seccomp_profile: Profile | None = None
    app_armor_profile: Profile | None = None
    sysctls: tuple[Sysctl, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities(Located):
    """Capabilities."""

    add: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityContext(Located):
    """SecurityContext of a container; what it does not say, the pod's says."""

    REFUSED: ClassVar = {"seLinuxOptions": _SELINUX, "windowsOptions": _WINDOWS}

    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    read_only_root_filesystem: bool = False
    privileged: bool = False
    capabilities: Capabilities = field(default_factory=Capabilities)
    allow_privilege_escalation: bool | None = None
    seccomp_profile: Profile | None = None
    app_armor_profile: Profile | None = None
    proc_mount: ProcMount = ProcMount.DEFAULT
