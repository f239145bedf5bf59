"""One line about a host that is open: what its machines are made with."""

from vmsandbox.config import Config
from vmsandbox.errors import VmsandboxError
from vmsandbox.guestimage import load_image
from vmsandbox.sandbox.machines import Host


async def summary(config: Config, host: Host) -> str:
    """Libvirt and QEMU, the accelerators, the guest image, the pod network and the handlers."""
    accelerators = sorted({profile.accelerator.value.upper() for profile in host.profiles.values()})
    handlers = ", ".join(name for name in config.machine_handlers if name)
    parts = (
        f"{await _versions(host)}, at {host.hypervisor.uri}",
        f"accelerator {' and '.join(accelerators)}",
        f"guest image {host.guest_image.build[:12]} ({_system(config)})",
        f"network: {_network(host)}",
        f"handlers: {handlers}",
    )
    return "; ".join(parts)


async def _versions(host: Host) -> str:
    """Versions of libvirt and QEMU; a line in a log must not end the daemon."""
    try:
        return await host.hypervisor.version()
    except VmsandboxError as error:
        return f"libvirt of an unknown version ({error})"


def _system(config: Config) -> str:
    try:
        manifest = load_image(config.guest_image).manifest
    except VmsandboxError as error:
        return str(error)
    return f"Debian {manifest.suite}, Linux {manifest.kernel}"


def _network(host: Host) -> str:
    try:
        return host.network.network_list().source
    except VmsandboxError as error:
        return f"none yet: {error}"
