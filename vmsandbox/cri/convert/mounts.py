"""Mount and Device."""

from cri_api.v1 import api_pb2 as api

from vmsandbox.cri.convert import enums
from vmsandbox.cri.convert.namespaces import id_mappings_from_cri, id_mappings_to_cri
from vmsandbox.errors import Unimplemented
from vmsandbox.model import Device, Mount


def mount_from_cri(wire: api.Mount) -> Mount:
    """Convert a volume, or an image's root, in a container. Raises InvalidArgument: its propagation is not known."""
    return Mount(
        container_path=wire.container_path,
        host_path=wire.host_path,
        image=wire.image.image,
        user_specified_image=wire.image.user_specified_image,
        image_sub_path=wire.image_sub_path,
        readonly=wire.readonly,
        recursive_read_only=wire.recursive_read_only,
        propagation=enums.from_cri(enums.PROPAGATION, wire.propagation, "Mount.propagation"),
        uid_mappings=id_mappings_from_cri(wire.uidMappings),
        gid_mappings=id_mappings_from_cri(wire.gidMappings),
    )


def mount_to_cri(model: Mount) -> api.Mount:
    """The inverse of `mount_from_cri`. Raises Unimplemented: a tmpfs in the guest, which the CRI cannot say."""
    if model.tmpfs:
        raise Unimplemented(f"the mount at {model.container_path}: the CRI has no volumes in the guest's memory")
    wire = api.Mount(
        container_path=model.container_path,
        host_path=model.host_path,
        image_sub_path=model.image_sub_path,
        readonly=model.readonly,
        recursive_read_only=model.recursive_read_only,
        propagation=enums.to_cri(enums.PROPAGATION, model.propagation),
        uidMappings=id_mappings_to_cri(model.uid_mappings),
        gidMappings=id_mappings_to_cri(model.gid_mappings),
    )
    if model.image:
        wire.image.image = model.image
        wire.image.user_specified_image = model.user_specified_image
    return wire


def device_from_cri(wire: api.Device) -> Device:
    """A device node."""
    return Device(wire.container_path, wire.host_path, wire.permissions)


def device_to_cri(model: Device) -> api.Device:
    """The inverse of `device_from_cri`."""
    return api.Device(container_path=model.container_path, host_path=model.host_path, permissions=model.permissions)
