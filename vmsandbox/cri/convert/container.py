"""ContainerConfig."""

from cri_api.v1 import api_pb2 as api

from vmsandbox.cri.convert import fields
from vmsandbox.cri.convert.mounts import device_from_cri, device_to_cri, mount_from_cri, mount_to_cri
from vmsandbox.cri.convert.resources import resources_from_cri, resources_to_cri
from vmsandbox.cri.convert.security import security_from_cri, security_to_cri
from vmsandbox.cri.convert.signals import signal_from_cri, signal_to_cri
from vmsandbox.model import ContainerConfig, ContainerMetadata, Resources


def container_config_from_cri(wire: api.ContainerConfig) -> ContainerConfig:
    """A container as CreateContainer asks for it.

    Raises:
        InvalidArgument: it has a value that this version does not know.
        Unimplemented: it asks for what a machine cannot give (`fields`).
    """
    fields.refuse(wire)
    return ContainerConfig(
        metadata=container_metadata_from_cri(wire.metadata),
        image=wire.image.image,
        user_specified_image=wire.image.user_specified_image,
        command=tuple(wire.command),
        args=tuple(wire.args),
        working_dir=wire.working_dir,
        envs={pair.key: pair.value for pair in wire.envs},
        mounts=tuple(map(mount_from_cri, wire.mounts)),
        devices=tuple(map(device_from_cri, wire.devices)),
        cdi_devices=(*(item.name for item in wire.CDI_devices), *_annotated_devices(wire)),
        labels=dict(wire.labels),
        annotations=dict(wire.annotations),
        log_path=wire.log_path,
        stdin=wire.stdin,
        stdin_once=wire.stdin_once,
        tty=wire.tty,
        resources=resources_from_cri(wire.linux.resources),
        security=security_from_cri(wire.linux.security_context),
        stop_signal=signal_from_cri(wire.stop_signal),
    )


def container_config_to_cri(model: ContainerConfig) -> api.ContainerConfig:
    """The inverse of `container_config_from_cri`."""
    wire = api.ContainerConfig(
        metadata=container_metadata_to_cri(model.metadata),
        image=image_spec(model),
        command=model.command,
        args=model.args,
        working_dir=model.working_dir,
        envs=[api.KeyValue(key=key, value=value) for key, value in model.envs.items()],
        mounts=map(mount_to_cri, model.mounts),
        devices=map(device_to_cri, model.devices),
        CDI_devices=[api.CDIDevice(name=name) for name in model.cdi_devices],
        labels=model.labels,
        annotations=model.annotations,
        log_path=model.log_path,
        stdin=model.stdin,
        stdin_once=model.stdin_once,
        tty=model.tty,
        linux=api.LinuxContainerConfig(security_context=security_to_cri(model.security)),
        stop_signal=signal_to_cri(model.stop_signal) if model.stop_signal else api.RUNTIME_DEFAULT,
    )
    if model.resources != Resources():
        wire.linux.resources.CopyFrom(resources_to_cri(model.resources))
    return wire


def container_metadata_from_cri(wire: api.ContainerMetadata) -> ContainerMetadata:
    """Convert the names of a container."""
    return ContainerMetadata(wire.name, wire.attempt)


def container_metadata_to_cri(model: ContainerMetadata) -> api.ContainerMetadata:
    """The inverse of `container_metadata_from_cri`."""
    return api.ContainerMetadata(name=model.name, attempt=model.attempt)


def image_spec(model: ContainerConfig) -> api.ImageSpec:
    """The image as the container's author asked for it."""
    return api.ImageSpec(image=model.image, user_specified_image=model.user_specified_image)


def _annotated_devices(wire: api.ContainerConfig) -> list[str]:
    """The CDI devices that older device plugins ask for by annotations, as containerd reads them."""
    values = (value for key, value in wire.annotations.items() if key.startswith("cdi.k8s.io/"))
    return [name for value in values for name in value.split(",")]
