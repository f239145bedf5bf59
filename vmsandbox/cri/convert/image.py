"""Image and AuthConfig."""

from cri_api.v1 import api_pb2 as api

from vmsandbox.model import Image, ImageConfig, RegistryAuth

_MAX_UID = 2**32


def image_to_cri(model: Image) -> api.Image:
    """An image; the user of its configuration is told as a number or as a name, without the group."""
    wire = api.Image(
        id=model.id,
        repo_tags=model.repo_tags,
        repo_digests=model.repo_digests,
        size=model.size,
        spec=api.ImageSpec(image=next(iter(model.repo_tags + model.repo_digests), model.id)),
        pinned=model.pinned,
    )
    user = model.config.user.partition(":")[0]
    if user.isdecimal() and len(user) <= 10 and int(user) < _MAX_UID:  # an image may say anything
        wire.uid.value = int(user)
    else:
        wire.username = user
    return wire


def image_from_cri(wire: api.Image) -> Image:
    """Convert a runtime's description of an image; of the configuration it contains only the user."""
    user = str(wire.uid.value) if wire.HasField("uid") else wire.username
    return Image(
        id=wire.id,
        repo_tags=tuple(wire.repo_tags),
        repo_digests=tuple(wire.repo_digests),
        size=wire.size,
        pinned=wire.pinned,
        config=ImageConfig(user=user),
    )


def registry_auth_from_cri(wire: api.AuthConfig) -> RegistryAuth:
    """The credentials of a pull, all but the server that they are for."""
    return RegistryAuth(
        username=wire.username,
        password=wire.password,
        auth=wire.auth,
        identity_token=wire.identity_token,
        registry_token=wire.registry_token,
    )


def registry_auth_to_cri(model: RegistryAuth) -> api.AuthConfig:
    """The inverse of `registry_auth_from_cri`."""
    return api.AuthConfig(
        username=model.username,
        password=model.password,
        auth=model.auth,
        identity_token=model.identity_token,
        registry_token=model.registry_token,
    )


def set_image_ref(spec: api.ImageSpec, image_id: str) -> None:
    """Set `image_ref`, by which a status tells the image of a volume: field 20, which the bindings do not have yet.

    Protobuf keeps a field that it does not know, and sends it on.
    """
    value = image_id.encode()
    assert len(value) < 0x80, "an id is a digest, whose length takes one byte"
    spec.MergeFromString(bytes([0xA2, 0x01, len(value)]) + value)


def image_spec_document(model: ImageConfig) -> dict[str, object]:
    """The configuration in the form of the OCI image-spec, as in the verbose status."""
    members: dict[str, object] = {
        "User": model.user,
        "Env": list(model.env),
        "Entrypoint": list(model.entrypoint),
        "Cmd": list(model.cmd),
        "WorkingDir": model.working_dir,
        "StopSignal": model.stop_signal,
        "Volumes": {path: {} for path in model.volumes},
        "Labels": dict(model.labels),
    }
    return {"config": {key: value for key, value in members.items() if value}}
