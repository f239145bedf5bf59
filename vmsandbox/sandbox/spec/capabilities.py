"""Linux capabilities of a container (capabilities(7)), as containerd gives them."""

from vmsandbox.errors import InvalidArgument
from vmsandbox.model import ContainerSecurity
from vmsandbox.protocol.codec import JSON

DEFAULT = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID",
    "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL",
    "CAP_AUDIT_WRITE",
)  # fmt: skip

ALL = (
    *DEFAULT,
    "CAP_AUDIT_CONTROL", "CAP_AUDIT_READ", "CAP_BLOCK_SUSPEND", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
    "CAP_DAC_READ_SEARCH", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_LEASE", "CAP_LINUX_IMMUTABLE", "CAP_MAC_ADMIN",
    "CAP_MAC_OVERRIDE", "CAP_NET_ADMIN", "CAP_NET_BROADCAST", "CAP_PERFMON", "CAP_SYSLOG", "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT", "CAP_SYS_MODULE", "CAP_SYS_NICE", "CAP_SYS_PACCT", "CAP_SYS_PTRACE", "CAP_SYS_RAWIO",
    "CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_WAKE_ALARM",
)  # fmt: skip


def build_capabilities(security: ContainerSecurity) -> JSON:
    """OCI `process.capabilities`: the defaults, plus what is added, minus what is dropped; ALL means all.

    Ambient capabilities are inheritable as well, without which the kernel refuses them.

    Raises:
        InvalidArgument: a capability that no kernel has.
    """
    chosen, ambient = granted_capabilities(security), list(_full_names(security.add_ambient_capabilities))
    sets = {"bounding": chosen, "effective": chosen, "permitted": chosen}
    return {**sets, "inheritable": ambient, "ambient": ambient} if ambient else sets


def granted_capabilities(security: ContainerSecurity) -> list[str]:
    """Return the bounding set of a container. Raises InvalidArgument like `build_capabilities`."""
    if security.privileged:
        return list(ALL)
    added, dropped = _full_names(security.add_capabilities), _full_names(security.drop_capabilities)
    start = ALL if "CAP_ALL" in added else () if "CAP_ALL" in dropped else DEFAULT
    wanted = (name for name in (*start, *added) if name in ALL and name not in dropped)
    return list(dict.fromkeys((*wanted, *_full_names(security.add_ambient_capabilities))))


def _full_names(names: tuple[str, ...]) -> tuple[str, ...]:
    upper = (name.upper() for name in names)
    full = tuple(name if name.startswith("CAP_") else f"CAP_{name}" for name in upper)
    for name in full:
        if name not in ALL and name != "CAP_ALL":
            raise InvalidArgument(f"there is no capability {name}")
    return full
