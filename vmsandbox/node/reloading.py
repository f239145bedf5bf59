"""A host that is open takes other settings, for pods and pulls from now on."""

from vmsandbox.config import Config
from vmsandbox.node.accelerators import Prober
from vmsandbox.node.host import profiles_of
from vmsandbox.sandbox.machines import Host


async def reload_host(host: Host, before: Config, after: Config) -> None:
    """Have the host use all settings of `after` that need no restart (`config.reloaded`).

    Raises:
        FailedPrecondition: an accelerator that `after` asks for does not work; nothing has changed then.
        InvalidArgument: as `ImageStore.configure`; nothing has changed then.
    """
    profiles = dict(host.profiles)
    if (before.machine, before.handlers) != (after.machine, after.handlers):
        directory = after.state_directory
        prober = Prober(
            host.hypervisor, host.transports, host.guest_image, host.runtime_directory, directory, users=host.users
        )
        profiles = await profiles_of(after, prober)
    host.images.configure(after.images)
    host.network.configure(after.network)
    host.profiles.clear()
    host.profiles.update(profiles)
