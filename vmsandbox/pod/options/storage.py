"""--volume, --tmpfs and --read-only, as volumes and volumeMounts."""

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from vmsandbox.pod.options.run_options import OptionContext, RunOptions
from vmsandbox.pod.options.values import absolute, memory, wrong

_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_PROPAGATION = {
    "private": "None", "rprivate": "None", "slave": "HostToContainer", "rslave": "HostToContainer",
    "shared": "Bidirectional", "rshared": "Bidirectional",
}  # fmt: skip
_REASONS = {
    "z": "the guest has no SELinux labels; leave it out",
    "Z": "the guest has no SELinux labels; leave it out",
    "U": "files keep their owners; chown them before",
    "O": "a Pod has no overlay of a directory; mount it :ro",
}
_WRITABLE_WHEN_READ_ONLY = ("/run", "/tmp", "/var/tmp")
"""The directories that podman leaves writable in a container that is --read-only (--read-only-tmpfs)."""


@dataclass(slots=True)
class Storage:
    """Volumes and mounts as they come together; a source that is mounted twice is one volume."""

    volumes: list[dict[str, Any]] = field(default_factory=list)
    mounts: list[dict[str, Any]] = field(default_factory=list)

    def mount(self, source: dict[str, Any], path: str, **more: Any) -> None:
        """Mount a source of a volume."""
        name = next((v["name"] for v in self.volumes if _shared(source) and source.items() <= v.items()), "")
        if not name:
            name = f"volume-{len(self.volumes)}"
            self.volumes.append({"name": name, **source})
        self.mounts.append({"name": name, "mountPath": path, **more})


def storage(options: RunOptions, context: OptionContext) -> Storage:
    """All that is mounted.

    Raises:
        InvalidArgument: a path is not absolute, or an option of a mount has no word in a Pod.
    """
    found = Storage()
    for text in options.volume:
        source, path, mode = _parts(text)
        found.mount(_source(source, context), path, **dict(_modes(text, mode)))
    for text in options.tmpfs:
        path, _, mode = text.partition(":")
        found.mount({"emptyDir": {"medium": "Memory", **dict(_tmpfs(text, mode))}}, absolute("--tmpfs", path))
    taken = {mount["mountPath"] for mount in found.mounts}
    for path in _WRITABLE_WHEN_READ_ONLY if options.read_only else ():
        if path not in taken:
            found.mount({"emptyDir": {"medium": "Memory"}}, path)
    return found


def _shared(source: dict[str, Any]) -> bool:
    return "emptyDir" not in source


def _parts(text: str) -> tuple[str, str, str]:
    """Source, path in the container, and options, `SOURCE:PATH:OPTIONS`; a path alone has no source."""
    parts = text.split(":")
    if len(parts) == 1:
        return "", absolute("--volume", parts[0]), ""
    if len(parts) > 3 or not parts[0]:
        raise wrong("--volume", f"{text[:80]!r} is not SOURCE:/PATH[:OPTIONS]", hint="-v /data:/data:ro, -v name:/data")
    return parts[0], absolute("--volume", parts[1]), parts[2] if len(parts) == 3 else ""


def _source(text: str, context: OptionContext) -> dict[str, Any]:
    if not text:
        return {"emptyDir": {}}
    if text.startswith(("/", ".")):
        return {"hostPath": {"path": posixpath.normpath(posixpath.join(context.directory, text))}}
    if not _NAME.fullmatch(text):
        hint = f"-v ./{text}:/PATH for a directory; names have lower case letters, digits, - and ."
        raise wrong("--volume", f"{text[:80]!r} is neither a path nor the name of a volume", hint=hint)
    return {"persistentVolumeClaim": {"claimName": text}}


def _modes(text: str, modes: str) -> Iterator[tuple[str, Any]]:
    for mode in filter(None, modes.split(",")):
        if mode == "ro":
            yield "readOnly", True
        elif mode in _PROPAGATION:
            yield "mountPropagation", _PROPAGATION[mode]
        elif mode != "rw":
            reason = _REASONS.get(mode, "a Pod has no word for it")
            raise wrong("--volume", f"{mode[:80]!r} of {text[:80]!r} is not supported: {reason}")


def _tmpfs(text: str, modes: str) -> Iterator[tuple[str, str]]:
    for mode in filter(None, modes.split(",")):
        name, _, value = mode.partition("=")
        if name == "size":
            yield "sizeLimit", memory("--tmpfs", value) or "0"
        elif mode != "rw":
            raise wrong("--tmpfs", f"{mode[:80]!r} of {text[:80]!r} is not supported: a Pod has a word for size alone")
