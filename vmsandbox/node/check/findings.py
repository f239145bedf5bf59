"""The findings of `vmsandbox check`: whether this node can run pods, and how to mend it."""

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from vmsandbox.config import Config, MachineConfig
from vmsandbox.errors import FailedPrecondition, VmsandboxError
from vmsandbox.guest import program_installed, use_kernel
from vmsandbox.guestimage import LOG, SMALL, compiling, kernel_of, load_image
from vmsandbox.hypervisor import Accelerator
from vmsandbox.model import Finding, MachineSize
from vmsandbox.node import file_server
from vmsandbox.node.accelerators import Attempt, Prober
from vmsandbox.node.check import accounts, advice, callers
from vmsandbox.node.host import boot_image, open_network, open_transports, open_users, vhost_device_vsock
from vmsandbox.node.images import qemu_group
from vmsandbox.node.instance import claim
from vmsandbox.node.libvirt import is_embedded, opened, own_libvirt
from vmsandbox.node.libvirt_files import answers
from vmsandbox.process import TOOLS, Account
from vmsandbox.sandbox.machines import MachineCgroups, charge_of
from vmsandbox.sandbox.spec import find_default_seccomp

PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "skopeo": "skopeo",
    "tar2sqfs": "squashfs-tools-ng",
    "mkfs.ext4": "e2fsprogs",
    "iptables": "iptables",
    **dict.fromkeys(TOOLS, "util-linux"),
    "nft": "nftables",
}
"""The programs that serving pods starts, and the Debian packages that hold them."""


@dataclass(frozen=True, slots=True)
class Section:
    """The findings about one part of the node."""

    title: str
    findings: tuple[Finding, ...]


async def sections(config: Config) -> AsyncIterator[Section]:
    """Each part when it has been looked at. The last one boots machines, which takes some seconds each.

    Raises:
        FailedPrecondition: this is not root, without which most of it cannot be seen.
    """
    yield Section("programs", tuple(_program(*item) for item in PROGRAMS.items()))
    group = _attempt(lambda: f"QEMU's group {config.qemu_group} is {qemu_group(config)}")
    limits = _attempt(MachineCgroups(config.cgroup_parent, config.run_directory / "cgroups").check)
    yield Section("qemu", (group, accounts.look(config.users), limits, pod_overheads(config), budget(config), _kvm()))
    yield Section("vsock", (_attempt(lambda: _vsock(config)),))
    yield Section("volumes", (await _volumes(config),))
    yield Section("images", (_attempt(lambda: _images(config)),))
    yield Section("containers", (_attempt(find_default_seccomp),))
    yield Section("guest image", (_guest_image(config),))
    yield Section("host", await advice.look())
    yield Section("network", await open_network(config).check())
    yield Section("socket", (_socket(config),))
    yield Section("callers", await asyncio.to_thread(callers.look))
    async for section in _libvirt(config):
        yield section


def pod_overheads(config: Config) -> Finding:
    """Say what the RuntimeClass of each handler has to add to a pod (node.k8s.io/v1, overhead.podFixed.memory).

    It is for a pod of the handler's own size: page tables grow with the guest's memory.
    """
    needed = []
    for handler in config.machine_handlers[1:]:
        machine = config.machine_of(handler)
        size = MachineSize(machine.vcpus, machine.memory + machine.overhead)
        figures = (f"{(charge_of(size, kind) - machine.memory) >> 20}Mi with {kind.name}" for kind in _kinds(machine))
        needed.append(f"{handler} {', '.join(figures)}")
    return Finding(True, f"overhead.podFixed.memory of a RuntimeClass has to be at least: {'; '.join(needed)}")


def budget(config: Config) -> Finding:
    """Say how many machines of the default size the budget of the node has room for, as admission counts them."""
    machine, limit = config.machine_of(""), config.limits.memory
    if limit is None:
        return Finding(True, "machines may take the memory that the host has available when the daemon starts")
    size = MachineSize(machine.vcpus, machine.memory + machine.overhead)
    room = {kind.name: limit // charge_of(size, kind) for kind in _kinds(machine)}
    told = ", ".join(f"{number} with {name}" for name, number in room.items())
    return Finding(
        any(room.values()),
        f"limits.memory has room for this many machines of the default size: {told}",
        "raise limits.memory in config.yaml: it counts what a machine takes of the host",
    )


def _kinds(machine: MachineConfig) -> list[Accelerator]:
    """The accelerators that machines may have: the one that is set, or any."""
    kinds = [kind for kind in Accelerator if kind.value == machine.accelerator.value]
    return kinds or list(Accelerator)


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
    if device.stat().st_mode & 0o060 != 0o060:
        return Finding(False, "QEMU cannot open /dev/kvm", "chgrp kvm /dev/kvm; chmod 660 /dev/kvm")
    return Finding(True, "QEMU can open /dev/kvm")


def _vsock(config: Config) -> str:
    if use_kernel(config.vsock.value):
        return "agents are reached through the kernel's vsock"
    program = vhost_device_vsock(config)
    if not program_installed(program):
        raise FailedPrecondition(f"{program} is not installed", hint="`make setup` builds it; or modprobe vhost_vsock")
    return f"agents are reached through {program}"


async def _volumes(config: Config) -> Finding:
    """QEMU's virtiofsd is enough for most pods: what it lacks is worth a word, and no failure."""
    try:
        server = await file_server.find(config)
    except VmsandboxError as error:
        return _bad(error)
    if server.is_rust:
        return Finding(True, f"volumes are served by {server.program} {server.version}")
    lacks = (
        f"volumes are served by {server.program} {server.version}: supplementary groups (fsGroup) create no files, and "
        "files have no extended attributes, capabilities and ACLs"
    )
    return Finding(True, lacks, "`make setup` fetches the virtiofsd written in Rust; Debian 13 has a package of it")


def _images(config: Config) -> str:
    account = Account.named(config.images.user)
    return f"images are read as the user {config.images.user} ({account.uid})"


def _guest_image(config: Config) -> Finding:
    try:
        image = load_image(config.guest_image)
    except VmsandboxError as error:
        return _bad(error)
    what = f"{image.directory}: Debian {image.manifest.suite}, Linux {image.manifest.kernel}"
    if pid := compiling(image.directory.parent):
        return Finding(True, f"{what}; the process {pid} compiles a small kernel: {LOG}")
    if kernel_of(image) == SMALL:
        return Finding(True, what)
    return Finding(
        True, what, "with the small kernel a machine takes less memory: `vmsandbox image build-guest --kernel small`"
    )


def _socket(config: Config) -> Finding:
    """A daemon that serves it already is well; what is not a socket is in the way."""
    path = config.socket
    if answers(path):
        return Finding(True, f"a daemon serves {path}")
    if path.exists() and not path.is_socket():
        return Finding(False, f"{path} is not a socket", "remove it, or set another socket")
    if path.exists() and not os.access(path, os.W_OK):
        return Finding(True, f"{path} is there, and this user may not open it: a daemon may serve it")
    return Finding(True, f"{path} is free")


async def _libvirt(config: Config) -> AsyncIterator[Section]:
    """Opens the libvirt that `serve` would open, and boots the guest image with it."""
    async with contextlib.AsyncExitStack() as stack:
        try:
            instance = stack.enter_context(claim(config.run_directory, config.state_directory))
            # The embedded one of a daemon that runs is inside that process, and cannot be opened from here.
            uri = instance.embedded_libvirt if is_embedded(config.libvirt) else config.libvirt
            hypervisor = await stack.enter_async_context(opened(uri, own_libvirt(config), programs=instance.persistent))
            yield Section("libvirt", (Finding(True, await hypervisor.version()),))
            image = boot_image(load_image(config.guest_image))
            transports, users = open_transports(config), open_users(config)
            prober = Prober(hypervisor, transports, image, instance.runtime, config.state_directory, users=users)
            yield Section("accelerators", _judge(await prober.try_all()))
        except VmsandboxError as error:
            yield Section("libvirt", (_bad(error),))


def _judge(attempts: tuple[Attempt, ...]) -> tuple[Finding, ...]:
    """One that works is enough; without KVM everything is slow, which is worth a word but no failure."""
    enough = any(attempt.works for attempt in attempts)
    return tuple(_attempted(attempt, enough) for attempt in attempts)


def _attempted(attempt: Attempt, enough: bool) -> Finding:
    name = attempt.accelerator.value.upper()
    if attempt.works:
        return Finding(True, f"a guest boots under {name} in {attempt.seconds:.1f} s")
    hint = "guests are emulated (TCG), which is slow; `--output json` shows the details" if enough else attempt.report
    return Finding(enough, f"no guest runs under {name}: {attempt.why_not}", hint)
