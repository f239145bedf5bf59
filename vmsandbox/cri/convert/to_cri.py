"""Messages about sandboxes and containers: PodSandbox, PodSandboxStatus, Container, ContainerStatus, events."""

from collections.abc import Iterable, Mapping

from cri_api.v1 import api_pb2 as api

from vmsandbox.cri.convert import enums
from vmsandbox.cri.convert.container import container_metadata_to_cri, image_spec
from vmsandbox.cri.convert.image import set_image_ref
from vmsandbox.cri.convert.mounts import mount_to_cri
from vmsandbox.cri.convert.namespaces import namespaces_to_cri
from vmsandbox.cri.convert.pod import sandbox_metadata_to_cri
from vmsandbox.cri.convert.resources import resources_to_cri
from vmsandbox.cri.convert.signals import signal_to_cri
from vmsandbox.model import ContainerEvent, ContainerStatus, ContainerUser, Image, Mount, SandboxState, SandboxStatus


def sandbox_item_to_cri(status: SandboxStatus) -> api.PodSandbox:
    """A line of ListPodSandbox."""
    return api.PodSandbox(
        id=status.id,
        metadata=sandbox_metadata_to_cri(status.config.metadata),
        state=_sandbox_state(status),
        created_at=status.created_at,
        labels=status.config.labels,
        annotations=status.config.annotations,
        runtime_handler=status.config.runtime_handler,
    )


def sandbox_status_to_cri(status: SandboxStatus) -> api.PodSandboxStatus:
    """PodSandboxStatus; a sandbox that is not ready has no address any more.

    A pod without a network has no PodSandboxNetworkStatus at all: a kubelet (podSandboxChanged) replaces a sandbox
    whose status has one with an empty address, again and again.
    """
    ips = status.ips if status.state is SandboxState.READY else ()
    network = api.PodSandboxNetworkStatus(
        ip=ips[0] if ips else "", additional_ips=[api.PodIP(ip=address) for address in ips[1:]]
    )
    return api.PodSandboxStatus(
        id=status.id,
        metadata=sandbox_metadata_to_cri(status.config.metadata),
        state=_sandbox_state(status),
        created_at=status.created_at,
        network=None if status.config.networkless and not ips else network,
        linux=api.LinuxPodSandboxStatus(namespaces=api.Namespace(options=namespaces_to_cri(status.config.namespaces))),
        labels=status.config.labels,
        annotations=status.config.annotations,
        runtime_handler=status.config.runtime_handler,
    )


def container_item_to_cri(status: ContainerStatus) -> api.Container:
    """A line of ListContainers; its image_ref is the image's id, which older kubelets look up to spare the image."""
    return api.Container(
        id=status.id,
        pod_sandbox_id=status.sandbox_id,
        metadata=container_metadata_to_cri(status.config.metadata),
        image=image_spec(status.config),
        image_ref=status.image_id,
        image_id=status.image_id,
        state=enums.to_cri(enums.CONTAINER_STATE, status.state),
        created_at=status.created_at,
        labels=status.config.labels,
        annotations=status.config.annotations,
    )


def container_status_to_cri(
    status: ContainerStatus, image: Image | None, volumes: Mapping[str, str] | None = None
) -> api.ContainerStatus:
    """ContainerStatus.

    Args:
        status: the container's.
        image: its image, whose first tag names it and whose stop signal applies; None: not held any more.
        volumes: ids of the images that are its volumes, by the names that its mounts have for them.
    """
    config = status.config
    spec = image_spec(config)
    if image is not None and image.repo_tags:
        spec.image = image.repo_tags[0]
    stop_signal = config.stop_signal or (image.config.stop_signal if image is not None else "") or "SIGTERM"
    wire = api.ContainerStatus(
        id=status.id,
        metadata=container_metadata_to_cri(config.metadata),
        state=enums.to_cri(enums.CONTAINER_STATE, status.state),
        created_at=status.created_at,
        started_at=status.started_at,
        finished_at=status.finished_at,
        exit_code=status.exit_code,
        image=spec,
        image_ref=status.image_ref,
        image_id=status.image_id,
        reason=status.reason,
        message=status.message,
        labels=config.labels,
        annotations=config.annotations,
        mounts=[_mount(mount, volumes or {}) for mount in config.mounts if not mount.tmpfs],
        log_path=status.log_path,
        resources=api.ContainerResources(linux=resources_to_cri(config.resources)),
        stop_signal=signal_to_cri(stop_signal),
    )
    if status.user is not None:
        wire.user.linux.CopyFrom(_user(status.user))
    return wire


def event_to_cri(
    model: ContainerEvent, sandbox: SandboxStatus | None, containers: Iterable[api.ContainerStatus]
) -> api.ContainerEventResponse:
    """ContainerEventResponse; the sandbox is None once it is removed."""
    return api.ContainerEventResponse(
        container_id=model.container_id,
        container_event_type=enums.to_cri(enums.EVENT_KIND, model.kind),
        created_at=model.at,
        pod_sandbox_status=sandbox_status_to_cri(sandbox) if sandbox is not None else None,
        containers_statuses=containers,
    )


def _mount(mount: Mount, volumes: Mapping[str, str]) -> api.Mount:
    wire = mount_to_cri(mount)
    if mount.image in volumes:
        set_image_ref(wire.image, volumes[mount.image])
    return wire


def _user(user: ContainerUser) -> api.LinuxContainerUser:
    return api.LinuxContainerUser(uid=user.uid, gid=user.gid, supplemental_groups=user.supplemental_groups)


def _sandbox_state(status: SandboxStatus) -> api.PodSandboxState.ValueType:
    """A sandbox that is being made is not ready; the CRI has no third state."""
    return api.SANDBOX_READY if status.state is SandboxState.READY else api.SANDBOX_NOTREADY
