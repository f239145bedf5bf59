"""The kernel features that pods and the agent need, each with its options and a check that runs in a guest.

One list for every kernel that a guest can have. Run as PID 1's program in a guest (standard library only), it prints
`feature NAME: ok` or what went wrong; a host's test reads its options.
"""

import ctypes
import errno
import fcntl
import os
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

_NETLINK_NETFILTER = 12
_libc = ctypes.CDLL(None, use_errno=True)
_NEWUSER, _NEWNS, _NEWUTS, _NEWIPC, _NEWPID, _NEWNET, _NEWCGROUP, _NEWTIME = (
    0x10000000, 0x00020000, 0x04000000, 0x08000000, 0x20000000, 0x40000000, 0x02000000, 0x80,
)  # fmt: skip


@dataclass(frozen=True)
class Feature:
    """A feature, the options of the kernel's configuration that it is made of, and a check that raises without it."""

    name: str
    options: tuple[str, ...]
    check: Callable[[], object]


def features() -> Iterator[Feature]:
    """All of them."""
    yield Feature("overlay in a user namespace", ("USER_NS", "OVERLAY_FS", "TMPFS_XATTR"), _overlay_in_user_namespace)
    yield Feature(
        "namespaces",
        ("UTS_NS", "IPC_NS", "TIME_NS", "PID_NS", "NET_NS", "NAMESPACES"),
        lambda: _in_child(_NEWNS | _NEWUTS | _NEWIPC | _NEWPID | _NEWNET | _NEWCGROUP | _NEWTIME),
    )
    yield Feature("file systems", _FILE_SYSTEM_OPTIONS, lambda: _has(_words("/proc/filesystems"), *_FILE_SYSTEMS))
    yield Feature("cgroups", _CGROUP_OPTIONS, _cgroups)
    yield Feature("system calls", _CALL_OPTIONS, _system_calls)
    yield Feature(
        "kinds of sockets", ("UNIX", "PACKET", "IPV6", "MPTCP", "AUDIT", "CONNECTOR", "XDP_SOCKETS"), _sockets
    )
    yield Feature("seccomp and landlock", ("SECCOMP_FILTER", "SECURITY_LANDLOCK"), _confinement)
    yield Feature("programs of other architectures", ("BINFMT_MISC",), _binfmt_misc)
    yield Feature("quotas of ext4", ("QFMT_V2",), lambda: _load({"quota_v2": "QFMT_V2"}))
    yield Feature("32-bit programs", ("IA32_EMULATION", "COMPAT_32BIT_TIME"), _run_32_bit)
    yield Feature("vsock within the guest", ("VIRTIO_VSOCKETS", "VSOCKETS_LOOPBACK"), _vsock)
    yield Feature("a machine's drivers", _DRIVER_OPTIONS, _drivers)
    yield Feature("plugging", _PLUG_OPTIONS, _plugging)
    yield Feature("mitigations", _MITIGATION_OPTIONS, _mitigations)
    yield Feature("kinds of interfaces", tuple(_INTERFACES.values()), _interfaces)
    yield Feature("tun", ("TUN",), _tun)
    yield Feature("loop", ("BLK_DEV_LOOP",), _loop)
    yield Feature("modules of nftables", _options(_NFTABLES), lambda: _load(_NFTABLES))
    yield Feature("modules of iptables", _options(_IPTABLES), lambda: _load(_IPTABLES))
    yield Feature("tables of iptables", ("IP_NF_FILTER", "IP6_NF_FILTER"), _iptables)
    yield Feature("nftables loads itself", ("NF_TABLES", "NETFILTER_NETLINK"), _nftables)
    yield Feature("policy routing", ("IP_MULTIPLE_TABLES", "IPV6_MULTIPLE_TABLES"), _policy_routing)
    yield Feature("sysctls that pods set", ("SYN_COOKIES", "POSIX_MQUEUE_SYSCTL"), _sysctls)
    yield Feature("what /proc has of a process", ("PROC_PAGE_MONITOR", "PROC_CHILDREN", "AUDIT"), _process_files)


_FILE_SYSTEMS = (
    *("overlay", "squashfs", "ext4", "fuse", "virtiofs", "tmpfs", "ramfs", "devtmpfs", "devpts", "proc", "sysfs"),
    *("mqueue", "cgroup2", "bpf", "securityfs"),
)
_FILE_SYSTEM_OPTIONS = (
    *("OVERLAY_FS", "SQUASHFS", "SQUASHFS_LZ4", "SQUASHFS_ZSTD", "SQUASHFS_ZLIB", "SQUASHFS_XZ", "SQUASHFS_XATTR"),
    *("EXT4_FS", "EXT4_FS_POSIX_ACL", "EXT4_FS_SECURITY", "FUSE_FS", "VIRTIO_FS", "TMPFS", "TMPFS_POSIX_ACL"),
    *("DEVTMPFS", "UNIX98_PTYS", "POSIX_MQUEUE"),
)
_CGROUP_OPTIONS = (
    *("MEMCG", "CGROUP_SCHED", "CFS_BANDWIDTH", "CGROUP_PIDS", "CGROUP_FREEZER", "CPUSETS", "BLK_CGROUP"),
    *("CGROUP_BPF", "CGROUP_DEVICE", "BLK_DEV_THROTTLING", "BLK_CGROUP_IOCOST", "HUGETLBFS", "CGROUP_HUGETLB", "PSI"),
)


def _cgroups() -> None:
    directory = Path("/tmp/cgroup")
    directory.mkdir()
    _mount("cgroup2", directory, "cgroup2", "nsdelegate,memory_recursiveprot")
    controllers = (directory / "cgroup.controllers").read_text().split()
    _has(controllers, "cpuset", "cpu", "io", "memory", "pids", "hugetlb")
    (directory / "cgroup.subtree_control").write_text("+cpuset +cpu +io +memory +pids +hugetlb")
    (directory / "one").mkdir()
    there = os.listdir(directory / "one")
    _has(there, "cgroup.kill", "cgroup.freeze", "memory.pressure", "memory.oom.group", "cpu.max", "cpu.weight")
    _has(there, "io.max", "io.weight", "hugetlb.2MB.max")
    Path("/proc/pressure/memory").read_text()


_CALL_OPTIONS = (
    *("FUTEX", "EPOLL", "SIGNALFD", "TIMERFD", "EVENTFD", "AIO", "IO_URING", "MEMBARRIER", "RSEQ", "KCMP"),
    *("CROSS_MEMORY_ATTACH", "USERFAULTFD", "POSIX_TIMERS", "POSIX_MQUEUE", "SYSVIPC", "KEYS", "BPF_SYSCALL"),
    *("FHANDLE", "INOTIFY_USER", "FANOTIFY", "FILE_LOCKING", "MULTIUSER", "SHMEM", "CACHESTAT_SYSCALL", "SECRETMEM"),
    *("NUMA", "SWAP", "MODIFY_LDT_SYSCALL", "ADVISE_SYSCALLS", "BSD_PROCESS_ACCT", "QUOTA"),
)
_CALLS = {
    "io_setup": 206, "io_uring_setup": 425, "epoll_create1": 291, "eventfd2": 290, "signalfd4": 289,
    "timerfd_create": 283, "timer_create": 222, "membarrier": 324, "kcmp": 312, "process_vm_readv": 310,
    "userfaultfd": 323, "mq_open": 240, "shmget": 29, "semget": 64, "msgget": 68, "add_key": 248, "keyctl": 250,
    "bpf": 321, "name_to_handle_at": 303, "inotify_init1": 294, "fanotify_init": 300, "flock": 73, "setgroups": 116,
    "memfd_create": 319, "memfd_secret": 447, "cachestat": 451, "mbind": 237, "set_mempolicy": 238, "pidfd_open": 434,
    "perf_event_open": 298, "modify_ldt": 154, "madvise": 28, "landlock_create_ruleset": 444, "swapon": 167,
    "open_by_handle_at": 304, "process_madvise": 440, "rseq": 334, "acct": 163, "quotactl": 179, "quotactl_fd": 443,
}  # fmt: skip
"""Numbers of x86-64; each is called with arguments that it refuses, with another error than that it does not exist."""


def _system_calls() -> None:
    missing = []
    for name, number in _CALLS.items():
        ctypes.set_errno(0)
        _libc.syscall(number, *([ctypes.c_long(-1)] * 6))
        missing += [name] if ctypes.get_errno() == errno.ENOSYS else []
    assert not missing, f"missing: {missing}"


_SOCKETS = {
    "unix": (1, 1, 0), "packet": (17, 3, 0), "XDP": (44, 3, 0), "vsock": (40, 1, 0), "MPTCP": (2, 1, 262),
    "MPTCP over IPv6": (10, 1, 262), "UDP-Lite": (2, 2, 136), "ping": (2, 2, 1), "netlink: routes": (16, 3, 0),
    "netlink: sockets": (16, 3, 4), "netlink: audit": (16, 3, 9), "netlink: connector": (16, 3, 11),
    "netlink: uevents": (16, 3, 15), "netlink: generic": (16, 3, 16),
}  # fmt: skip
"""Family, type and protocol, as /usr/include has their numbers: what programs open that need no module."""
_NOT_THERE = (errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT)


def _sockets() -> None:
    missing = [name for name, (family, kind, protocol) in _SOCKETS.items() if not _opens(family, kind, protocol)]
    assert not missing, f"missing: {missing}"


def _opens(family: int, kind: int, protocol: int) -> bool:
    descriptor = _libc.socket(family, kind, protocol)
    if descriptor < 0:
        return ctypes.get_errno() not in _NOT_THERE
    os.close(descriptor)
    return True


def _binfmt_misc() -> None:
    _mount("binfmt_misc", Path("/proc/sys/fs/binfmt_misc"), "binfmt_misc", "")
    assert Path("/proc/sys/fs/binfmt_misc/status").read_text() == "enabled\n"


def _confinement() -> None:
    _has(_words("/proc/sys/kernel/seccomp/actions_avail"), "errno", "user_notif", "trace", "log", "kill_process")
    assert _libc.syscall(444, None, ctypes.c_size_t(0), 1) >= 4, "landlock's ABI is too old"


def _run_32_bit() -> None:
    """Run the smallest program: exit(42) by int 0x80."""
    code = b"\xb8\x01\0\0\0\xbb\x2a\0\0\0\xcd\x80"
    base = 0x08048000
    header = b"\x7fELF\x01\x01\x01" + bytes(9)
    header += struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, base + 84, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    size = 84 + len(code)
    program = Path("/tmp/program")
    program.write_bytes(header + struct.pack("<IIIIIIII", 1, 0, base, base, size, size, 5, 0x1000) + code)
    program.chmod(0o755)
    assert subprocess.run([program], check=False).returncode == 42


def _vsock() -> None:
    with socket.socket(socket.AF_VSOCK) as server, socket.socket(socket.AF_VSOCK) as client:
        server.bind((socket.VMADDR_CID_ANY, 5000))
        server.listen()
        client.connect((1, 5000))


_DRIVERS = ("virtio_balloon", "virtio_console", "virtio_net", "virtio_rng", "virtio_scsi", "virtiofs")
_DRIVER_OPTIONS = (
    *("VIRTIO_PCI", "VIRTIO_BALLOON", "PAGE_REPORTING", "VIRTIO_CONSOLE", "VIRTIO_NET", "HW_RANDOM_VIRTIO"),
    *("SCSI_VIRTIO", "BLK_DEV_SD", "VIRTIO_FS", "VMGENID", "PVPANIC_PCI", "PVPANIC_MMIO", "VIRTIO_MEM", "PVH"),
    *("KVM_GUEST", "X86_X2APIC", "RTC_DRV_CMOS"),
)


def _drivers() -> None:
    _has(os.listdir("/sys/bus/virtio/drivers"), *_DRIVERS, "vmw_vsock_virtio_transport")
    _has(os.listdir("/sys/bus/pci/drivers"), "pvpanic-pci", "virtio-pci", "pcieport")


_PLUG_OPTIONS = (
    *("HOTPLUG_CPU", "MEMORY_HOTPLUG", "MEMORY_HOTREMOVE", "HOTPLUG_PCI_PCIE", "HOTPLUG_PCI_ACPI", "VIRTIO_MEM"),
    *("ACPI_HOTPLUG_CPU", "ACPI_HOTPLUG_MEMORY"),
)


def _plugging() -> None:
    assert Path("/sys/devices/system/memory/auto_online_blocks").read_text() == "online\n"
    assert Path("/sys/module/memory_hotplug/parameters/online_policy").read_text() == "auto-movable\n"


_MITIGATION_OPTIONS = (
    "CPU_MITIGATIONS",
    *(
        f"MITIGATION_{name}"
        for name in (
            *("PAGE_TABLE_ISOLATION", "RETPOLINE", "RETHUNK", "UNRET_ENTRY", "IBPB_ENTRY", "IBRS_ENTRY", "SRSO", "GDS"),
            *("RFDS", "SPECTRE_BHI", "MDS", "TAA", "MMIO_STALE_DATA", "L1TF", "RETBLEED", "SPECTRE_V1", "SPECTRE_V2"),
            *("SRBDS", "SSB", "ITS", "TSA"),
        )
    ),
)


def _mitigations() -> None:
    for file in Path("/sys/devices/system/cpu/vulnerabilities").iterdir():
        assert not file.read_text().startswith("Vulnerable"), f"{file.name}: {file.read_text()}"


_INTERFACES = {
    "bridge": "BRIDGE", "veth": "VETH", "dummy": "DUMMY", "vxlan": "VXLAN", "wireguard": "WIREGUARD",
    "vlan": "VLAN_8021Q", "macvlan": "MACVLAN", "ipvlan": "IPVLAN",
}  # fmt: skip


def _interfaces() -> None:
    """Ask for each kind in a way that loads its module; one that the kernel does not have is "not supported"."""
    missing = [kind for kind in _INTERFACES if _new_interface(kind) == errno.EOPNOTSUPP]
    assert not missing, f"missing: {missing}"


def _new_interface(kind: str) -> int:
    info = _attribute(18, _attribute(1, kind.encode()))
    name = _attribute(3, f"{kind}0".encode() + b"\0")
    return _netlink(socket.NETLINK_ROUTE, 16, 0x600, struct.pack("=BxHiII", 0, 0, 0, 0, 0) + name + info)


def _netlink(family: int, kind: int, flags: int, body: bytes) -> int:
    """Send a request; return the errno of its answer."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, family) as netlink:
        netlink.send(struct.pack("=IHHII", 16 + len(body), kind, flags | 0x5, 1, 0) + body)
        answer = netlink.recv(65536)
    answered = struct.unpack_from("=H", answer, 4)[0]
    return -int(struct.unpack_from("=i", answer, 16)[0]) if answered == 2 else 0


def _attribute(kind: int, value: bytes) -> bytes:
    size = 4 + len(value)
    return struct.pack("=HH", size, kind) + value + bytes(-size % 4)


def _tun() -> None:
    os.mknod("/tmp/tun", 0o600 | 0o020000, os.makedev(10, 200))
    descriptor = os.open("/tmp/tun", os.O_RDWR)
    fcntl.ioctl(descriptor, 0x400454CA, struct.pack("16sH22x", b"tun0", 0x1001))
    os.close(descriptor)


def _loop() -> None:
    os.mknod("/tmp/loop-control", 0o600 | 0o020000, os.makedev(10, 237))
    descriptor = os.open("/tmp/loop-control", os.O_RDWR)
    assert fcntl.ioctl(descriptor, 0x4C82) >= 0
    os.close(descriptor)


_NFTABLES = {
    "nf_tables": "NF_TABLES", "nft_ct": "NFT_CT", "nft_nat": "NFT_NAT", "nft_masq": "NFT_MASQ",
    "nft_redir": "NFT_REDIR", "nft_chain_nat": "NF_TABLES", "nft_compat": "NFT_COMPAT",
    "nft_reject_inet": "NFT_REJECT_INET",
    "nft_limit": "NFT_LIMIT", "nft_log": "NFT_LOG", "nft_fib_inet": "NFT_FIB_INET", "nft_tproxy": "NFT_TPROXY",
    "nft_numgen": "NFT_NUMGEN", "nft_hash": "NFT_HASH", "nft_socket": "NFT_SOCKET", "nft_queue": "NFT_QUEUE",
    "nft_quota": "NFT_QUOTA", "nft_connlimit": "NFT_CONNLIMIT", "nft_flow_offload": "NFT_FLOW_OFFLOAD",
}  # fmt: skip
_IPTABLES = {
    "iptable_filter": "IP_NF_FILTER", "iptable_nat": "IP_NF_NAT", "iptable_mangle": "IP_NF_MANGLE",
    "iptable_raw": "IP_NF_RAW", "ip6table_filter": "IP6_NF_FILTER", "ip6table_nat": "IP6_NF_NAT",
    "ip6table_mangle": "IP6_NF_MANGLE", "ip6table_raw": "IP6_NF_RAW", "ipt_REJECT": "IP_NF_TARGET_REJECT",
    "ip6t_REJECT": "IP6_NF_TARGET_REJECT", "xt_MASQUERADE": "NETFILTER_XT_TARGET_MASQUERADE",
    "xt_REDIRECT": "NETFILTER_XT_TARGET_REDIRECT", "xt_TPROXY": "NETFILTER_XT_TARGET_TPROXY",
    "xt_CT": "NETFILTER_XT_TARGET_CT", "xt_LOG": "NETFILTER_XT_TARGET_LOG", "xt_NFLOG": "NETFILTER_XT_TARGET_NFLOG",
    "xt_TCPMSS": "NETFILTER_XT_TARGET_TCPMSS", "xt_DSCP": "NETFILTER_XT_TARGET_DSCP",
    "xt_NETMAP": "NETFILTER_XT_TARGET_NETMAP", "xt_TEE": "NETFILTER_XT_TARGET_TEE", "xt_mark": "NETFILTER_XT_MARK",
    "xt_connmark": "NETFILTER_XT_CONNMARK", "xt_nat": "NETFILTER_XT_NAT",
    "xt_addrtype": "NETFILTER_XT_MATCH_ADDRTYPE", "xt_bpf": "NETFILTER_XT_MATCH_BPF",
    "xt_cgroup": "NETFILTER_XT_MATCH_CGROUP", "xt_comment": "NETFILTER_XT_MATCH_COMMENT",
    "xt_connlimit": "NETFILTER_XT_MATCH_CONNLIMIT", "xt_conntrack": "NETFILTER_XT_MATCH_CONNTRACK",
    "xt_dscp": "NETFILTER_XT_MATCH_DSCP", "xt_hashlimit": "NETFILTER_XT_MATCH_HASHLIMIT",
    "xt_helper": "NETFILTER_XT_MATCH_HELPER", "xt_iprange": "NETFILTER_XT_MATCH_IPRANGE",
    "xt_length": "NETFILTER_XT_MATCH_LENGTH", "xt_limit": "NETFILTER_XT_MATCH_LIMIT",
    "xt_mac": "NETFILTER_XT_MATCH_MAC", "xt_multiport": "NETFILTER_XT_MATCH_MULTIPORT",
    "xt_owner": "NETFILTER_XT_MATCH_OWNER",
    "xt_physdev": "NETFILTER_XT_MATCH_PHYSDEV", "xt_pkttype": "NETFILTER_XT_MATCH_PKTTYPE",
    "xt_recent": "NETFILTER_XT_MATCH_RECENT", "xt_socket": "NETFILTER_XT_MATCH_SOCKET",
    "xt_statistic": "NETFILTER_XT_MATCH_STATISTIC", "xt_string": "NETFILTER_XT_MATCH_STRING",
    "xt_tcpmss": "NETFILTER_XT_MATCH_TCPMSS", "xt_time": "NETFILTER_XT_MATCH_TIME", "xt_u32": "NETFILTER_XT_MATCH_U32",
    "br_netfilter": "BRIDGE_NETFILTER", "nfnetlink_queue": "NETFILTER_NETLINK_QUEUE",
    "nfnetlink_log": "NETFILTER_NETLINK_LOG", "nf_conntrack_netlink": "NF_CT_NETLINK", "nf_nat_ftp": "NF_NAT_FTP",
}  # fmt: skip


def _options(modules: dict[str, str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(modules.values()))


def _load(modules: dict[str, str]) -> None:
    done = subprocess.run(["/usr/sbin/modprobe", "-a", *modules], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _iptables() -> None:
    """Ask for a table's size, as iptables does first."""
    for family, level in ((socket.AF_INET, socket.IPPROTO_IP), (socket.AF_INET6, socket.IPPROTO_IPV6)):
        with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
            asked = ctypes.create_string_buffer(b"filter", 84)
            size = ctypes.c_uint(84)
            assert _libc.getsockopt(raw.fileno(), level, 64, asked, ctypes.byref(size)) == 0


def _nftables() -> None:
    generation = struct.pack("=BBH", 0, 0, 0)
    assert _netlink(_NETLINK_NETFILTER, (10 << 8) | 16, 0, generation) == 0


def _policy_routing() -> None:
    for family in (socket.AF_INET, socket.AF_INET6):
        rule = struct.pack("=BBBBBBBBI", family, 0, 0, 0, 100, 0, 0, 1, 0)
        assert _netlink(socket.NETLINK_ROUTE, 32, 0x600, rule) == 0


_SYSCTLS = (
    "kernel/shm_rmid_forced", "kernel/shmmax", "kernel/msgmax", "kernel/sem", "kernel/pid_max", "kernel/core_pattern",
    "kernel/unprivileged_bpf_disabled", "fs/mqueue/msg_max", "fs/inotify/max_user_watches", "fs/file-max",
    "fs/aio-max-nr", "net/core/somaxconn", "net/core/rmem_max", "net/core/bpf_jit_enable",
    "net/ipv4/ip_local_port_range", "net/ipv4/ip_local_reserved_ports", "net/ipv4/ip_unprivileged_port_start",
    "net/ipv4/ping_group_range", "net/ipv4/tcp_syncookies", "net/ipv4/tcp_keepalive_time", "net/ipv4/tcp_fin_timeout",
    "net/ipv4/tcp_rmem", "net/ipv4/tcp_congestion_control", "net/ipv4/ip_forward", "net/ipv4/conf/all/rp_filter",
    "net/ipv6/conf/all/forwarding", "vm/max_map_count", "vm/overcommit_memory", "vm/swappiness",
    "user/max_user_namespaces",
)  # fmt: skip


def _sysctls() -> None:
    missing = [name for name in _SYSCTLS if not Path("/proc/sys", name).exists()]
    assert not missing, f"missing: {missing}"


def _process_files() -> None:
    names = ("smaps", "smaps_rollup", "pagemap", "task/1/children", "io", "wchan", "timerslack_ns", "clear_refs")
    for name in (*names, "loginuid", "sessionid"):
        assert Path("/proc/1", name).exists(), f"missing: {name}"


def _overlay_in_user_namespace() -> None:
    for name in ("lower", "upper", "work", "merged"):
        Path(f"/tmp/overlay-{name}").mkdir()

    def mount() -> None:
        for name, content in (("setgroups", "deny"), ("uid_map", "0 0 1"), ("gid_map", "0 0 1")):
            Path("/proc/self", name).write_text(content)
        layers = "lowerdir=/tmp/overlay-lower,upperdir=/tmp/overlay-upper,workdir=/tmp/overlay-work,userxattr"
        _mount("overlay", Path("/tmp/overlay-merged"), "overlay", layers)

    _in_child(_NEWUSER | _NEWNS, mount)


def _in_child(flags: int, then: Callable[[], object] = lambda: None) -> None:
    child = os.fork()
    if child == 0:
        try:
            assert _libc.unshare(ctypes.c_int(flags)) == 0, os.strerror(ctypes.get_errno())
            then()
            os._exit(0)
        except BaseException as error:
            _say(f"in the child: {error}")
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0, "the child failed"


def _mount(source: str, target: Path, kind: str, options: str) -> None:
    done = _libc.mount(source.encode(), str(target).encode(), kind.encode(), 0, options.encode())
    assert done == 0, f"{kind}: {os.strerror(ctypes.get_errno())}"


def _words(path: str) -> list[str]:
    return Path(path).read_text().split()


def _has(there: list[str], *needed: str) -> None:
    missing = set(needed) - set(there)
    assert not missing, f"missing: {sorted(missing)}"


def _say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def main() -> None:
    """Check all features, print what came of each, and end the machine."""
    _mount("tmpfs", Path("/tmp"), "tmpfs", "")
    for feature in features():
        try:
            feature.check()
        except BaseException as error:
            _say(f"feature {feature.name}: {type(error).__name__} {error}")
        else:
            _say(f"feature {feature.name}: ok")
    _libc.reboot(0x4321FEDC)


if __name__ == "__main__":
    main()
