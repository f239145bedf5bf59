"""The guest's additions to a container's runtime-spec: namespaces that exist already, and devices."""

from pathlib import Path

from vmsandbox.protocol.messages import POD_NAMESPACE, CreateContainer, ProcessUser
from vmsandbox_agent import devices
from vmsandbox_agent.machinery import Machinery
from vmsandbox_agent.spec import Completion


def completion(
    machinery: Machinery, request: CreateContainer, *, root: Path, user: ProcessUser, cgroup: str, joined: Path | None
) -> Completion:
    """All that is known of a container that is about to be made.

    Args:
        machinery: of the guest.
        request: the host's.
        root: the container's root.
        user: the user that it runs as.
        cgroup: its path in the hierarchy.
        joined: the PID namespace that it asks for, where that is another container's.

    Raises:
        AgentError: the guest has not the device, or cannot make the namespace.
    """
    named = {device.path for device in request.devices}
    others = devices.everything(machinery.settings.devices) if request.all_devices else ()
    wanted = [*request.devices, *(device for device in others if device.path not in named)]
    nodes, rules = devices.find(wanted, machinery.settings.devices)
    return Completion(root, user, cgroup, request.tty, _namespaces(machinery, request, joined), nodes, rules)


def _namespaces(machinery: Machinery, request: CreateContainer, joined: Path | None) -> dict[str, Path]:
    pid = machinery.pod.pid() if request.pid_namespace == POD_NAMESPACE else joined
    found = {"pid": pid, "user": machinery.pod.user()}
    return {kind: path for kind, path in found.items() if path is not None}
