"""The callers of OCI runtimes that are on this host, and whether their configuration names `vmsandbox-oci`.

None of them is needed, so that every finding is one that is well (`Finding.ok`).
"""

import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vmsandbox.model import Finding

COMMAND = "vmsandbox-oci"
SANDBOXER = "vmsandbox-containerd"
"""The directory of the socket at which `vmsandbox containerd` is a sandboxer of containerd's."""
_PROGRAMS = ("usr/bin", "usr/local/bin", "usr/sbin")
_HINT = "docs/oci.md has what to add"


@dataclass(frozen=True, slots=True)
class Caller:
    """A program that is given OCI runtimes by their paths."""

    program: str
    files: tuple[str, ...]
    """The files of its configuration, from the root directory; patterns (glob)."""
    use: str
    """How a container is run by a runtime, whose name is put into it."""


CALLERS = (
    Caller(
        "podman",
        (
            "usr/share/containers/containers.conf",
            "etc/containers/containers.conf",
            "etc/containers/containers.conf.d/*.conf",
        ),
        "podman --runtime {}",
    ),
    Caller("containerd", ("etc/containerd/config.toml", "etc/containerd/conf.d/*.toml"), "the handler {} of its CRI"),
    Caller("crio", ("etc/crio/crio.conf", "etc/crio/crio.conf.d/*"), "the handler {}"),
    Caller("dockerd", ("etc/docker/daemon.json",), "docker run --runtime {}"),
)


def look(root: Path = Path("/")) -> tuple[Finding, ...]:
    """Look at the callers that are installed below the host's root directory."""
    here = [caller for caller in CALLERS if any((root / path / caller.program).exists() for path in _PROGRAMS)]
    return tuple(finding for caller in here for finding in _look(caller, root))


def _look(caller: Caller, root: Path) -> Iterator[Finding]:
    commands: dict[str, str] = {}
    sandboxers: dict[str, str] = {}
    for path in [path for pattern in caller.files for path in sorted(root.glob(pattern))]:
        try:
            parsed = _parsed(path)
            commands.update(_runtimes(parsed))
            sandboxers.update(_sandboxed(parsed))
        except (OSError, ValueError) as error:
            yield Finding(True, f"{caller.program}: {path} cannot be read: {error}", _HINT)
    for name, command in commands.items():
        yield _told(caller, name, command, root)
    for name, address in sandboxers.items():
        yield Finding(True, f"{caller.program} runs pods in machines by {address}: {caller.use.format(name)}")
    if not commands and not sandboxers:
        yield Finding(True, f"{caller.program} does not know {COMMAND}")


def _told(caller: Caller, name: str, command: str, root: Path) -> Finding:
    if not (root / command.lstrip("/")).exists():
        return Finding(True, f"{caller.program}: the runtime {name} is {command}, which is missing", "make install")
    return Finding(True, f"{caller.program} runs containers in machines by {command}: {caller.use.format(name)}")


def _parsed(path: Path) -> Any:
    """Return the content of a file. Raises OSError, ValueError."""
    text = path.read_text()
    return json.loads(text) if path.suffix == ".json" else tomllib.loads(text)


def _sandboxed(value: Any) -> Iterator[tuple[str, str]]:
    """Yield the runtimes of containerd whose sandboxer is `vmsandbox containerd`, and its address."""
    strings = dict(_strings(value))
    for keys, name in strings.items():
        address = strings.get(("proxy_plugins", name, "address"), "")
        if keys[-1:] == ("sandboxer",) and "runtimes" in keys[:-1] and SANDBOXER in address:
            yield keys[keys.index("runtimes") + 1], address


def _runtimes(value: Any) -> Iterator[tuple[str, str]]:
    """Yield the names below the tables `runtimes` whose values name the command, and its path."""
    for keys, text in _strings(value):
        if COMMAND in Path(text).name and "runtimes" in keys[:-1]:
            yield keys[keys.index("runtimes") + 1], text


def _strings(value: Any, keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the strings of a configuration, with the keys that lead to them."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _strings(each, (*keys, key))
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each, keys)
    elif isinstance(value, str):
        yield keys, value
