"""What `vmsandbox check` finds: whether this node can run pods, and what to do where it cannot."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from vmsandbox.config import Config
from vmsandbox.errors import VmsandboxError
from vmsandbox.guest.transports import use_kernel
from vmsandbox.guestimage.manifest import load_image
from vmsandbox.hypervisor.libvirt import LibvirtHypervisor
from vmsandbox.model import Finding
from vmsandbox.network import Network
from vmsandbox.node.host import network_settings, open_prober, qemu_group, vhost_device_vsock
from vmsandbox.node.instance import claim

PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "/usr/lib/qemu/virtiofsd": "qemu-system-common",
    "skopeo": "skopeo",
    "tar2sqfs": "squashfs-tools-ng",
    "mkfs.ext4": "e2fsprogs",
    "iptables": "iptables",
}
"""The programs that serving pods starts, and the Debian packages that hold them."""


@dataclass(frozen=True, slots=True)
class Section:
    """What was found about one part of the node."""

    title: str
    findings: tuple[Finding, ...]


async def sections(config: Config) -> AsyncIterator[Section]:
    """Each part when it has been looked at. The last one boots machines, which takes some seconds each.

    Raises:
        FailedPrecondition: this is not root, without which most of it cannot be seen.
    """
    yield Section("programs", tuple(_program(*item) for item in PROGRAMS.items()))
    yield Section("qemu", (_attempt(lambda: f"QEMU's group {config.qemu_group} is {qemu_group(config)}"), _kvm()))
    yield Section("vsock", (_attempt(lambda: _vsock(config)),))
    yield Section("guest image", (_attempt(lambda: _guest_image(config)),))
    yield Section("network", await Network(network_settings(config)).check())
    yield Section("libvirt", (await _libvirt(config),))
    yield Section("accelerators", await _accelerators(config))


def _program(name: str, package: str) -> Finding:
    path = shutil.which(name)
    if path is None:
        return Finding(False, f"{name} is not installed", f"apt-get install {package}")
    return Finding(True, path)


def _attempt(look: Callable[[], str]) -> Finding:
    try:
        return Finding(True, look())
    except VmsandboxError as error:
        return _bad(error)


def _bad(error: VmsandboxError) -> Finding:
    return Finding(False, str(error), error.hint)


def _kvm() -> Finding:
    """Libvirt asks QEMU anew at every start, seconds each, where QEMU's user cannot open the device."""
    device = Path("/dev/kvm")
    if not device.exists():
        return Finding(True, "there is no /dev/kvm: guests are emulated (TCG)", "")
    if os.stat(device).st_mode & 0o060 != 0o060:
        return Finding(False, "QEMU cannot open /dev/kvm", "chgrp kvm /dev/kvm; chmod 660 /dev/kvm")
    return Finding(True, "QEMU can open /dev/kvm")


def _vsock(config: Config) -> str:
    if use_kernel(config.vsock.value):
        return "agents are reached through the kernel's vsock"
    return f"agents are reached through {vhost_device_vsock(config)}"


def _guest_image(config: Config) -> str:
    image = load_image(config.guest_image)
    return f"{image.directory}: Debian {image.manifest.suite}, Linux {image.manifest.kernel}"


async def _accelerators(config: Config) -> tuple[Finding, ...]:
    """Boots the guest image with a libvirt inside this process."""
    with claim(config.run_directory, config.state_directory) as instance:
        try:
            async with open_prober(config, instance, instance.embedded_libvirt) as prober:
                return tuple([Finding(True, f"libvirt {prober.version}")])
        except VmsandboxError as error:
            return (_bad(error),)
