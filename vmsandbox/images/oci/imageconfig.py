"""An image's configuration (OCI image-spec, config.md), read with the suspicion that its maker deserves."""

import hashlib
from dataclasses import dataclass
from typing import Any

from vmsandbox.images.oci.documents import Malformed, digest, load_json, member, text, texts
from vmsandbox.images.oci.manifest import platform_of
from vmsandbox.images.oci.platform import Platform
from vmsandbox.model import ImageConfig

_WHAT = "the image's configuration"


@dataclass(frozen=True, slots=True)
class ParsedConfig:
    """The content of a configuration: how to run the image, its platform, and the digests of its unpacked layers."""

    run: ImageConfig
    platform: Platform | None
    diff_ids: tuple[str, ...]

    @property
    def chain_id(self) -> str:
        """The name of the layers' sum (OCI config.md, "Layer ChainID"); without layers, the digest of nothing."""
        if not self.diff_ids:
            return "sha256:" + hashlib.sha256(b"").hexdigest()
        chain = self.diff_ids[0]
        for diff_id in self.diff_ids[1:]:
            chain = "sha256:" + hashlib.sha256(f"{chain} {diff_id}".encode()).hexdigest()
        return chain


def parse_config(raw: bytes) -> ParsedConfig:
    """Read a configuration.

    Raises:
        Malformed: it is not what the specification says; the message names the member.
    """
    document = load_json(raw, _WHAT)
    rootfs = member(document, "rootfs", dict, _WHAT)
    if member(rootfs, "type", str, _WHAT) not in ("", "layers"):
        raise Malformed(f"rootfs of {_WHAT} is not made of layers")
    diff_ids = member(rootfs, "diff_ids", list, _WHAT)
    return ParsedConfig(
        _run(member(document, "config", dict, _WHAT)),
        platform_of(document),
        tuple(digest(diff_id, f"a diff_id in {_WHAT}") for diff_id in diff_ids),
    )


def _run(config: dict[str, Any]) -> ImageConfig:
    labels = member(config, "Labels", dict, _WHAT)
    return ImageConfig(
        user=text(config.get("User") or "", f"User in {_WHAT}"),
        env=_env(config),
        entrypoint=texts(config, "Entrypoint", _WHAT),
        cmd=texts(config, "Cmd", _WHAT),
        working_dir=text(config.get("WorkingDir") or "", f"WorkingDir in {_WHAT}"),
        stop_signal=text(config.get("StopSignal") or "", f"StopSignal in {_WHAT}"),
        volumes=tuple(text(path, f"a volume in {_WHAT}") for path in member(config, "Volumes", dict, _WHAT)),
        labels={text(key, "a label"): text(value or "", f"the label {key!r}") for key, value in labels.items()},
    )


def _env(config: dict[str, Any]) -> tuple[str, ...]:
    """Env, each NAME=VALUE; docker takes a bare NAME for one without a value, and so do we."""
    variables = texts(config, "Env", _WHAT)
    for variable in variables:
        if not variable.partition("=")[0]:
            raise Malformed(f"Env in {_WHAT} has a variable without a name: {variable[:80]!r}")
    return tuple(variable if "=" in variable else f"{variable}=" for variable in variables)
