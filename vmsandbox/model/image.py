"""Images, and who may pull them."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """The part of an image's configuration that running it needs (OCI image-spec, `config`)."""

    user: str = ""
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    working_dir: str = ""
    stop_signal: str = ""
    volumes: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Image:
    """CRI Image."""

    id: str
    """Digest of the image's configuration, with `sha256:`."""
    repo_tags: tuple[str, ...] = ()
    repo_digests: tuple[str, ...] = ()
    size: int = 0
    """Bytes of disk that the image's blobs and its root image occupy."""
    pinned: bool = False
    config: ImageConfig = field(default_factory=ImageConfig)


@dataclass(frozen=True, slots=True)
class RegistryAuth:
    """CRI AuthConfig: credentials of one pull. They never reach a command line or a log."""

    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    auth: str = field(default="", repr=False)
    """base64 of `username:password`."""
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)
