"""`ConfigureGuest`: makes the booted machine the pod."""

import errno
import os
import socket
import time
from pathlib import Path

from vmsandbox.protocol.messages import ConfigureGuest, Dns
from vmsandbox_agent.errors import AgentError
from vmsandbox_agent.settings import Settings
from vmsandbox_agent.setup.disks import wait_for_disk
from vmsandbox_agent.setup.mounts import make_shared_memory, read_ahead
from vmsandbox_agent.setup.network import configure_interfaces
from vmsandbox_agent.setup.plugged import appears
from vmsandbox_agent.syscalls import MS_NOATIME, MS_NODEV, MS_NOSUID, mount

_SYSCTLS = Path("/proc/sys")
_READ_AHEAD = 1024
"""KiB that the share reads ahead: the most that virtiofsd answers at once. The kernel's default, 128, has a request and
an answer for each 128 KiB of a large file."""

_SCRATCH_OPTIONS = "noinit_itable"
"""The tables of inodes of a new sparse file are zeros: the kernel need not write 50 MB of them to the disk."""


async def configure_guest(settings: Settings, request: ConfigureGuest) -> None:
    """Do all that the request says; repeating it changes nothing.

    Raises:
        AgentError: something it names does not exist.
        OSError: the kernel refuses.
    """
    time.clock_settime_ns(time.CLOCK_REALTIME, request.clock)
    socket.sethostname(request.hostname)
    await configure_interfaces(request.interfaces, request.card)
    write_names(settings.state / "etc", request)
    for name, value in request.sysctls.items():
        set_sysctl(name, value)
    make_shared_memory(settings.state / "shm", request.shm_size)
    if request.share_tag:
        await appears(lambda: _mount_share(request.share_tag, settings.share))
    await _mount_scratch(settings, request.scratch_serial)


async def _mount_scratch(settings: Settings, serial: str) -> None:
    if serial:
        node = await wait_for_disk(serial)
        _mount_once(str(node), settings.scratch, "ext4", MS_NOATIME, _SCRATCH_OPTIONS)
    else:
        _mount_once("tmpfs", settings.scratch, "tmpfs", 0)


def _mount_share(tag: str, target: Path) -> bool | None:
    """Mount the share; None where the kernel has not found the device of that tag (yet)."""
    try:
        _mount_once(tag, target, "virtiofs", MS_NOSUID | MS_NODEV)
        read_ahead(target, _READ_AHEAD)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return None
    return True


def _mount_once(source: str, target: Path, kind: str, flags: int, options: str = "") -> None:
    if not os.path.ismount(target):
        mount(source, str(target), kind, flags, options)


def set_sysctl(name: str, value: str) -> None:
    """Write a kernel parameter, named with dots or slashes (sysctl(8)).

    Raises:
        AgentError: there is none of that name, or it does not take the value.
    """
    dots_first = name.partition("/")[0].count(".") > 0
    path = name.translate(str.maketrans("./", "/.")) if dots_first else name
    target = _SYSCTLS / path
    if ".." in path.split("/") or path.startswith("/") or not target.is_file():
        raise AgentError("invalid_argument", f"the guest has no sysctl {name!r}")
    try:
        target.write_text(value)
    except OSError as error:
        raise AgentError("invalid_argument", f"sysctl {name}={value}: {error.strerror}") from None


def write_names(directory: Path, request: ConfigureGuest) -> None:
    """Write hosts, hostname and resolv.conf into `directory`, for the guest and for containers to mount."""
    (directory / "hostname").write_text(f"{request.hostname}\n")
    (directory / "hosts").write_text(request.hosts or default_hosts(request))
    (directory / "resolv.conf").write_text(resolv_conf(request.dns))


def default_hosts(request: ConfigureGuest) -> str:
    """/etc/hosts of a pod: localhost, and the pod's own name by its first addresses, or else by localhost's."""
    lines = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"]
    addresses = request.interfaces[0].addresses if request.interfaces else ("127.0.0.1",)
    lines += [f"{address.partition('/')[0]}\t{request.hostname}" for address in addresses]
    return "\n".join(lines) + "\n"


def resolv_conf(dns: Dns) -> str:
    """resolv.conf(5)."""
    lines = [f"nameserver {server}" for server in dns.servers]
    lines += [f"search {' '.join(dns.searches)}"] if dns.searches else []
    lines += [f"options {' '.join(dns.options)}"] if dns.options else []
    return "".join(f"{line}\n" for line in lines)
