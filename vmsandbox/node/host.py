"""Opens everything that sandboxes are made with, from the configuration."""

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from vmsandbox import log
from vmsandbox.claims import UserRange
from vmsandbox.config import Config, MachineConfig, TemplateChoice
from vmsandbox.errors import FailedPrecondition
from vmsandbox.guest import VHOST_DEVICE_VSOCK, Transports, use_kernel
from vmsandbox.guestimage import BuiltImage, load_image
from vmsandbox.hypervisor import GuestImage
from vmsandbox.network import Network
from vmsandbox.node import file_server, modes
from vmsandbox.node.accelerators import Prober
from vmsandbox.node.images import open_images, qemu_group
from vmsandbox.node.instance import Instance
from vmsandbox.node.libvirt import opened, own_libvirt
from vmsandbox.sandbox.machines import Host, MachineCgroups, Templates
from vmsandbox.sandbox.spec import MachineProfile
from vmsandbox.state import State

_log = log.get(__name__)


@contextlib.asynccontextmanager
async def open_host(config: Config, instance: Instance, libvirt: str) -> AsyncIterator[Host]:
    """Everything opened, for as long as the context lasts; sandboxes that run go on afterwards.

    Args:
        config: this node's.
        instance: the directories of this process.
        libvirt: the URI of its libvirt, or auto; `instance.embedded_libvirt` needs no libvirtd.

    Raises:
        FailedPrecondition: the host lacks something; the hint says what.
        NotFound: there is no guest image.
        Unavailable: libvirt cannot be reached.
    """
    if os.geteuid() != 0:
        raise FailedPrecondition("machines and their networks need root", hint="run it with sudo")
    modes.correct(config, qemu_group(config))
    image = boot_image(load_image(config.guest_image))
    async with contextlib.AsyncExitStack() as stack:
        state = stack.enter_context(State(instance.database))
        hypervisor = await stack.enter_async_context(opened(libvirt, own_libvirt(config), programs=instance.persistent))
        transports = open_transports(config)
        users = open_users(config)
        prober = Prober(hypervisor, transports, image, instance.runtime, config.state_directory, users=users)
        yield Host(
            state=state,
            hypervisor=hypervisor,
            network=open_network(config, tap_in_pod=hypervisor.apart),
            transports=transports,
            images=await open_images(config),
            guest_image=image,
            profiles=await profiles_of(config, prober),
            runtime_directory=instance.runtime,
            persistent_directory=instance.persistent,
            users=users,
            templates=Templates(_templates(config, instance), hypervisor),
            cgroups=MachineCgroups(config.cgroup_parent, config.run_directory / "cgroups"),
            file_server=file_server.launcher(await file_server.find(config), instance.persistent),
            run_directory=config.run_directory,
            stays=instance.stays,
            limits=config.limits,
            processors=os.cpu_count() or 1,
        )


def _templates(config: Config, instance: Instance) -> Path | None:
    """The directory of templates; None where this process cannot use any."""
    wanted = any(config.machine_of(name).template is TemplateChoice.AUTO for name in config.machine_handlers)
    if instance.templates is not None and not file_server.may_serve(instance.persistent):
        if wanted:
            _log.warning(
                "machines are booted, not made from templates: the virtiofsd of such a machine is this process's, "
                "and could make no set-user-id files on volumes, as this process may make none "
                "(the drop-in packaging/systemd/embedded-libvirt.conf lets it)"
            )
        return None
    return instance.templates


def boot_image(image: BuiltImage) -> GuestImage:
    """A built guest image, as a machine boots from it."""
    return GuestImage(image.kernel, image.initramfs, image.root, image.manifest.command_line, image.manifest.build)


def open_transports(config: Config) -> Transports:
    """The way to the agents. Raises FailedPrecondition if the configured one does not work here."""
    return Transports(
        config.run_directory / "cids",
        kernel=use_kernel(config.vsock.value),
        program=vhost_device_vsock(config),
    )


def open_users(config: Config) -> UserRange:
    """The users of machines, shared by all processes of the node. Raises FailedPrecondition without QEMU's group."""
    first, count = config.users.first, config.users.count
    return UserRange(config.run_directory / "users", range(first, first + count), qemu_group(config))


def open_network(config: Config, *, tap_in_pod: bool = False) -> Network:
    """The pod network; its records and leases are shared by all processes of the node."""
    return Network(config.network, config.state_directory / "network", tap_in_pod=tap_in_pod)


async def profiles_of(config: Config, prober: Prober) -> dict[str, MachineProfile]:
    """The profiles by handler. Raises FailedPrecondition where an accelerator that is asked for does not work."""
    machines = {handler: config.machine_of(handler) for handler in config.machine_handlers}
    return {handler: await _profile(machine, prober) for handler, machine in machines.items()}


async def _profile(machine: MachineConfig, prober: Prober) -> MachineProfile:
    accelerator = await prober.choose(machine.accelerator.value)
    return MachineProfile(machine, accelerator)


def vhost_device_vsock(config: Config) -> Path:
    """The configured program, or else the installation's own, or the one in PATH."""
    places = (config.vhost_device_vsock, file_server.HELPERS / VHOST_DEVICE_VSOCK)
    return next((place for place in places if place.exists()), VHOST_DEVICE_VSOCK)
