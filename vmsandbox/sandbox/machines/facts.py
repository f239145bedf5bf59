"""Describes what the machines of a host are made with, for people."""

from vmsandbox.errors import VmsandboxError
from vmsandbox.protocol.codec import JSON
from vmsandbox.sandbox.machines.host import Host


async def facts_of(host: Host) -> dict[str, JSON]:
    """Return the version of the hypervisor, the accelerators by handler, guest image and image directory."""
    try:
        hypervisor = await host.hypervisor.version()
    except VmsandboxError as error:
        hypervisor = f"unknown: {error}"
    return {
        "hypervisor": hypervisor,
        "accelerators": {name: profile.accelerator.value for name, profile in sorted(host.profiles.items())},
        "guestImage": str(host.guest_image.kernel.parent),
        "agentBuild": host.guest_image.build,
        "imageDirectory": str(host.images.directory),
    }
