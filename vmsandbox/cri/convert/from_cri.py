"""The inverse of `status`, for the client: what a runtime tells of sandboxes and containers.

Where the CRI tells less than the model holds, the rest stands at its default: a status has of its configuration the
metadata, labels, annotations and the like, not the command.
"""

from cri_api.v1 import api_pb2 as api

from vmsandbox.cri.convert import enums
from vmsandbox.cri.convert.container import container_metadata_from_cri
from vmsandbox.cri.convert.mounts import mount_from_cri
from vmsandbox.cri.convert.namespaces import namespaces_from_cri
from vmsandbox.cri.convert.pod import sandbox_metadata_from_cri
from vmsandbox.cri.convert.resources import resources_from_cri
from vmsandbox.cri.convert.signals import signal_from_cri
from vmsandbox.model import (
    ContainerConfig,
    ContainerEvent,
    ContainerStatus,
    ContainerUser,
    PodSandboxConfig,
    SandboxStatus,
)


def sandbox_item_from_cri(wire: api.PodSandbox) -> SandboxStatus:
    """A line of ListPodSandbox."""
    config = PodSandboxConfig(
        metadata=sandbox_metadata_from_cri(wire.metadata),
        labels=dict(wire.labels),
        annotations=dict(wire.annotations),
        runtime_handler=wire.runtime_handler,
    )
    state = enums.from_cri(enums.SANDBOX_STATE, wire.state, "PodSandbox.state")
    return SandboxStatus(wire.id, config, state, wire.created_at)


def sandbox_status_from_cri(wire: api.PodSandboxStatus) -> SandboxStatus:
    """A PodSandboxStatus."""
    config = PodSandboxConfig(
        metadata=sandbox_metadata_from_cri(wire.metadata),
        labels=dict(wire.labels),
        annotations=dict(wire.annotations),
        namespaces=namespaces_from_cri(wire.linux.namespaces.options),
        runtime_handler=wire.runtime_handler,
    )
    first = (wire.network.ip,) if wire.network.ip else ()
    return SandboxStatus(
        id=wire.id,
        config=config,
        state=enums.from_cri(enums.SANDBOX_STATE, wire.state, "PodSandboxStatus.state"),
        created_at=wire.created_at,
        ips=(*first, *(item.ip for item in wire.network.additional_ips)),
    )


def container_item_from_cri(wire: api.Container) -> ContainerStatus:
    """A line of ListContainers."""
    config = ContainerConfig(
        metadata=container_metadata_from_cri(wire.metadata),
        image=wire.image.image,
        user_specified_image=wire.image.user_specified_image,
        labels=dict(wire.labels),
        annotations=dict(wire.annotations),
    )
    return ContainerStatus(
        id=wire.id,
        sandbox_id=wire.pod_sandbox_id,
        config=config,
        state=enums.from_cri(enums.CONTAINER_STATE, wire.state, "Container.state"),
        created_at=wire.created_at,
        image_id=wire.image_id,
        image_ref=wire.image_ref,
    )


def container_status_from_cri(wire: api.ContainerStatus, sandbox_id: str = "") -> ContainerStatus:
    """A ContainerStatus, which does not tell the sandbox."""
    config = ContainerConfig(
        metadata=container_metadata_from_cri(wire.metadata),
        image=wire.image.image,
        user_specified_image=wire.image.user_specified_image,
        mounts=tuple(map(mount_from_cri, wire.mounts)),
        labels=dict(wire.labels),
        annotations=dict(wire.annotations),
        resources=resources_from_cri(wire.resources.linux),
        stop_signal=signal_from_cri(wire.stop_signal),
    )
    return ContainerStatus(
        id=wire.id,
        sandbox_id=sandbox_id,
        config=config,
        state=enums.from_cri(enums.CONTAINER_STATE, wire.state, "ContainerStatus.state"),
        created_at=wire.created_at,
        image_id=wire.image_id,
        image_ref=wire.image_ref,
        started_at=wire.started_at,
        finished_at=wire.finished_at,
        exit_code=wire.exit_code,
        reason=wire.reason,
        message=wire.message,
        log_path=wire.log_path,
        user=_user(wire.user.linux) if wire.user.HasField("linux") else None,
    )


def event_from_cri(wire: api.ContainerEventResponse) -> ContainerEvent:
    """A ContainerEventResponse. One without a sandbox's status is of a sandbox that was removed."""
    has_sandbox = wire.HasField("pod_sandbox_status")
    return ContainerEvent(
        container_id=wire.container_id,
        sandbox_id=wire.pod_sandbox_status.id if has_sandbox else wire.container_id,
        kind=enums.from_cri(enums.EVENT_KIND, wire.container_event_type, "ContainerEventResponse"),
        at=wire.created_at,
    )


def _user(wire: api.LinuxContainerUser) -> ContainerUser:
    return ContainerUser(wire.uid, wire.gid, tuple(wire.supplemental_groups))
