"""The default seccomp profile (RuntimeDefault): a table of the system calls that a container has no business with.

The machine is the boundary; this profile takes away what only administers it, unless a capability was granted for
just that, and what has a history of opening holes. All else is allowed, so that a new system call is not refused by
an old table. What is taken away agrees with the default profiles of docker and containerd, but for `ptrace` and the
like, which both allow on kernels as new as the guest's.
"""

from vmsandbox.protocol.codec import JSON

EPERM, ENOSYS = 1, 38

_UNLESS_GRANTED: dict[tuple[str, ...], tuple[str, ...]] = {
    # Mounts, namespaces and names of the machine.
    ("CAP_SYS_ADMIN",): (
        "mount", "umount", "umount2", "mount_setattr", "move_mount", "open_tree", "fsopen", "fsconfig", "fsmount",
        "fspick", "setns", "unshare", "sethostname", "setdomainname", "quotactl", "quotactl_fd", "fanotify_init",
        "lookup_dcookie",
    ),
    # The kernel as a whole: another one, parts of it, its time, its log, its accounts.
    ("CAP_SYS_BOOT",): ("reboot", "kexec_load", "kexec_file_load"),
    ("CAP_SYS_MODULE",): ("init_module", "finit_module", "delete_module"),
    ("CAP_SYS_TIME",): ("settimeofday", "stime", "clock_settime", "clock_settime64"),
    ("CAP_SYSLOG", "CAP_SYS_ADMIN"): ("syslog",),
    ("CAP_SYS_PACCT",): ("acct",),
    # Programs in the kernel, and measuring all of it.
    ("CAP_BPF", "CAP_SYS_ADMIN"): ("bpf",),
    ("CAP_PERFMON", "CAP_SYS_ADMIN"): ("perf_event_open",),
    # Other processes, files and memory.
    ("CAP_SYS_PTRACE",): ("kcmp", "pidfd_getfd"),
    ("CAP_DAC_READ_SEARCH",): ("open_by_handle_at",),
    ("CAP_SYS_CHROOT",): ("chroot",),
    ("CAP_SYS_NICE",): (
        "get_mempolicy", "set_mempolicy", "set_mempolicy_home_node", "mbind", "move_pages", "migrate_pages",
    ),
    # Hardware and terminals.
    ("CAP_SYS_RAWIO",): ("iopl", "ioperm"),
    ("CAP_SYS_TTY_CONFIG",): ("vhangup",),
}  # fmt: skip
"""Each call is refused unless the container has one of the capabilities."""

_NEVER = (
    # The kernel's keys are not separate for each container.
    "add_key", "keyctl", "request_key",
    # Large surfaces that few need.
    "io_uring_setup", "io_uring_enter", "io_uring_register", "userfaultfd",
    # The machine's root and swap.
    "pivot_root", "swapon", "swapoff",
    # Obsolete.
    "_sysctl", "sysfs", "ustat", "uselib", "nfsservctl", "vm86", "vm86old", "create_module", "get_kernel_syms",
    "query_module",
)  # fmt: skip

_NEW_NAMESPACES = (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET (clone(2))."""

_AF_VSOCK = 40
"""The machine's own line to its host."""

_SUB_ARCHITECTURES = {
    "x86_64": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    "aarch64": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
}


def default_profile(machine: str) -> JSON:
    """The profile for an architecture (in the kernel's words), in docker's form, with its conditions."""
    return {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": _SUB_ARCHITECTURES[machine],
        "syscalls": [
            *(_refuse(names, excludes={"caps": list(granting)}) for granting, names in _UNLESS_GRANTED.items()),
            *(
                _refuse(("clone",), args=[_has_flag(flag)], excludes={"caps": ["CAP_SYS_ADMIN"]})
                for flag in _NEW_NAMESPACES
            ),
            # Its flags lie in memory, where no filter sees them; the C libraries fall back to clone.
            _refuse(("clone3",), ENOSYS, excludes={"caps": ["CAP_SYS_ADMIN"]}),
            _refuse(("socket",), args=[{"index": 0, "value": _AF_VSOCK, "op": "SCMP_CMP_EQ"}]),
            _refuse(_NEVER),
        ],
    }


def _refuse(names: tuple[str, ...], errno: int = EPERM, **conditions: JSON) -> JSON:
    return {"names": list(names), "action": "SCMP_ACT_ERRNO", "errnoRet": errno, **conditions}


def _has_flag(flag: int) -> JSON:
    return {"index": 0, "value": flag, "valueTwo": flag, "op": "SCMP_CMP_MASKED_EQ"}
