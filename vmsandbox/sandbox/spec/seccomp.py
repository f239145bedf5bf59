"""The seccomp filter of a container, as OCI runtime-spec `linux.seccomp`.

RuntimeDefault is the profile of containers-common, which podman and CRI-O have, too; a Localhost profile is a file of
the node. Both are JSON, either in the runtime-spec's form or in the one that docker and containers-common know: rules
with `includes` and `excludes` (capabilities, architectures, a kernel's version), errors by name, and an `archMap`.
Whatever depends on the machine is decided here, so that crun gets the plain form.
"""

import errno
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vmsandbox.errors import FailedPrecondition, InvalidArgument
from vmsandbox.fs.opening import read_regular, reason
from vmsandbox.model import ContainerSecurity, SecurityProfile
from vmsandbox.protocol.codec import JSON
from vmsandbox.sandbox.spec.capabilities import granted_capabilities

RUNTIME_DEFAULT = Path("/usr/share/containers/seccomp.json")
"""The profile of containers-common (containers.conf(5), `seccomp_profile`)."""

_INSTALL = "apt-get install golang-github-containers-common; other distributions call it containers-common"

_MOST = 1024 * 1024
"""Bytes of a profile's file."""

_ARCHITECTURES = {"x86_64": ("SCMP_ARCH_X86_64", "amd64"), "aarch64": ("SCMP_ARCH_AARCH64", "arm64")}
"""The runtime-spec's name and docker's, by the kernel's."""


@dataclass(frozen=True, slots=True)
class Filtered:
    """On what a rule's conditions depend."""

    machine: str
    """The guest's architecture, in the kernel's words."""
    kernel: str
    """Release of the guest's kernel."""
    capabilities: frozenset[str]
    """The bounding set of the container."""


def build_seccomp(security: ContainerSecurity, *, machine: str, kernel: str) -> JSON:
    """Return the filter that a container asks for; None where it is unconfined, as a privileged one always is.

    Blocks: it reads the profile's file, which a Localhost profile may have on a file system that hangs.

    Raises:
        InvalidArgument: the node's profile cannot be read, or is not a seccomp profile.
        FailedPrecondition: the profile of RuntimeDefault is not installed.
    """
    path = _file(security)
    if path is None:
        return None
    of = Filtered(machine, kernel, frozenset(granted_capabilities(security)))
    profile = _read_default() if path == RUNTIME_DEFAULT else _read(path)
    try:
        return translate_seccomp(profile, of)
    except InvalidArgument as error:
        raise error.at(f"the seccomp profile {path}") from None


def find_default_seccomp() -> str:
    """Say where RuntimeDefault comes from. Raises as `build_seccomp` if it is missing."""
    host = os.uname()
    build_seccomp(
        ContainerSecurity(seccomp=SecurityProfile("runtime_default")), machine=host.machine, kernel=host.release
    )
    return f"the seccomp profile RuntimeDefault is {RUNTIME_DEFAULT}"


def translate_seccomp(profile: JSON, of: Filtered) -> JSON:
    """Return a profile of either form in the form of the runtime-spec, for this machine and these capabilities.

    What the conditions mean is taken from containers-common (pkg/seccomp, setupSeccomp): a rule is included where the
    container has all of the capabilities that it names, and excluded where it has any.

    Raises:
        InvalidArgument: it is not a seccomp profile.
    """
    if not isinstance(profile, dict) or not isinstance(profile.get("defaultAction"), str):
        raise InvalidArgument("a seccomp profile is a JSON object with a defaultAction")
    try:
        return _present(
            defaultAction=profile["defaultAction"],
            defaultErrnoRet=_error_number(profile.get("defaultErrno"), profile.get("defaultErrnoRet")),
            flags=profile.get("flags"),
            architectures=list(_architectures(profile, of.machine)),
            syscalls=[_rule(rule) for rule in profile.get("syscalls") or () if _applies(rule, of)],
        )
    except (TypeError, AttributeError, KeyError) as error:
        raise InvalidArgument(f"it is not a seccomp profile: {error}") from None


def _file(security: ContainerSecurity) -> Path | None:
    profile = security.seccomp
    if security.privileged or profile.kind == "unconfined":
        return None
    return RUNTIME_DEFAULT if profile.kind == "runtime_default" else Path(profile.path)


def _read(path: Path, *, follow: bool = False) -> JSON:
    try:
        return json.loads(read_regular(path, _MOST, follow=follow))
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidArgument(f"the seccomp profile {path} cannot be read: {reason(error)}") from None


def _read_default() -> JSON:
    try:
        return _read(RUNTIME_DEFAULT, follow=True)
    except InvalidArgument as error:
        raise FailedPrecondition(f"RuntimeDefault: {error}", hint=_INSTALL) from None


def _present(**fields: JSON) -> JSON:
    return {key: value for key, value in fields.items() if value is not None}


def _error_number(name: JSON, number: JSON) -> JSON:
    """Containers-common names an error (or has its number as text), and docker has a number; the name counts more."""
    if not name:
        return number
    found = int(name) if name.isdecimal() else getattr(errno, name, None)
    if not isinstance(found, int):
        raise InvalidArgument(f"there is no error {name!r}")
    return found


def _architectures(profile: dict[str, Any], machine: str) -> Iterator[str]:
    if listed := profile.get("architectures"):
        yield from listed
    for entry in profile.get("archMap") or ():
        if entry.get("architecture") == _ARCHITECTURES[machine][0]:
            yield from (entry["architecture"], *(entry.get("subArchitectures") or ()))


def _rule(rule: dict[str, Any]) -> JSON:
    return _present(
        names=rule.get("names") or [rule["name"]],
        action=rule["action"],
        errnoRet=_error_number(rule.get("errno"), rule.get("errnoRet")),
        args=rule.get("args") or None,
    )


def _applies(rule: JSON, of: Filtered) -> bool:
    if not isinstance(rule, dict) or not (rule.get("names") or rule.get("name")) or "action" not in rule:
        raise InvalidArgument("a rule of a seccomp profile has names and an action")
    included, excluded = _conditions(rule, "includes"), _conditions(rule, "excludes")
    return all(_holds(kind, value, of, frozenset.issuperset) for kind, value in included) and not any(
        _holds(kind, value, of, _has_any) for kind, value in excluded
    )


def _conditions(rule: dict[str, Any], key: str) -> list[tuple[str, JSON]]:
    """Return the conditions that are not empty."""
    return [(kind, value) for kind, value in (rule.get(key) or {}).items() if value]


def _holds(kind: str, value: JSON, of: Filtered, capable: Callable[[frozenset[str], JSON], bool]) -> bool:
    if kind == "caps":
        return capable(of.capabilities, value)
    if kind == "arches":
        return _ARCHITECTURES[of.machine][1] in value
    if kind == "minKernel":
        return _version(of.kernel) >= _version(str(value))
    raise InvalidArgument(f"a rule of a seccomp profile has the unknown condition {kind!r}")


def _has_any(held: frozenset[str], wanted: JSON) -> bool:
    return not held.isdisjoint(wanted)


def _version(release: str) -> tuple[int, ...]:
    match = re.match(r"(\d+)\.(\d+)", release)
    if match is None:
        raise InvalidArgument(f"{release!r} is not the version of a kernel")
    return tuple(map(int, match.groups()))
