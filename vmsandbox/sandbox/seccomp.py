"""The seccomp filter of a container, as OCI runtime-spec `linux.seccomp`.

A localhost profile is JSON, either in the runtime-spec's form or in the one that docker and containers-common know:
rules with `includes` and `excludes` (capabilities, architectures, a kernel's version) and an `archMap`. What depends
on the machine is decided here, so that crun gets the plain form.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vmsandbox.errors import InvalidArgument
from vmsandbox.fs.opening import read_regular, reason
from vmsandbox.model import ContainerSecurity
from vmsandbox.protocol.codec import JSON
from vmsandbox.sandbox import capabilities
from vmsandbox.sandbox.seccomp_default import default_profile

_MOST = 1024 * 1024
"""Bytes of a profile's file."""

_ARCHITECTURES = {"x86_64": ("SCMP_ARCH_X86_64", "amd64"), "aarch64": ("SCMP_ARCH_AARCH64", "arm64")}
"""The runtime-spec's name and docker's, by the kernel's."""

_RULE_FIELDS = ("action", "errnoRet", "args")


@dataclass(frozen=True, slots=True)
class Filtered:
    """On what a rule's conditions depend."""

    machine: str
    """The guest's architecture, in the kernel's words."""
    kernel: str
    """Release of the guest's kernel."""
    capabilities: frozenset[str]
    """What the container may have at most."""


def build(security: ContainerSecurity, *, machine: str, kernel: str) -> JSON:
    """The filter that a container asks for; None where it is unconfined, as a privileged one always is.

    Raises:
        InvalidArgument: the profile cannot be read, or is none.
    """
    profile = security.seccomp
    if security.privileged or profile.kind == "unconfined":
        return None
    of = Filtered(machine, kernel, frozenset(capabilities.granted(security)))
    source = default_profile(machine) if profile.kind == "runtime_default" else _read(Path(profile.path))
    return translate(source, of)


def translate(profile: JSON, of: Filtered) -> JSON:
    """A profile in either form, as the runtime-spec has it for this machine and these capabilities.

    Raises:
        InvalidArgument: it is no seccomp profile.
    """
    if not isinstance(profile, dict) or not isinstance(profile.get("defaultAction"), str):
        raise InvalidArgument("a seccomp profile is a JSON object with a defaultAction")
    kept = ("defaultAction", "defaultErrnoRet", "flags")
    try:
        return {
            **{key: profile[key] for key in kept if profile.get(key) is not None},
            "architectures": list(_architectures(profile, of.machine)),
            "syscalls": [_rule(rule) for rule in profile.get("syscalls") or () if _applies(rule, of)],
        }
    except (TypeError, AttributeError, KeyError) as error:
        raise InvalidArgument(f"a seccomp profile is not formed as one: {error}") from None


def _read(path: Path) -> JSON:
    try:
        return json.loads(read_regular(path, _MOST))
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidArgument(f"the seccomp profile {path} cannot be read: {reason(error)}") from None


def _architectures(profile: dict[str, Any], machine: str) -> Iterator[str]:
    if listed := profile.get("architectures"):
        yield from listed
    for entry in profile.get("archMap") or ():
        if entry.get("architecture") == _ARCHITECTURES[machine][0]:
            yield from (entry["architecture"], *(entry.get("subArchitectures") or ()))


def _rule(rule: dict[str, Any]) -> JSON:
    names = rule.get("names") or [rule["name"]]
    return {"names": names, **{key: rule[key] for key in _RULE_FIELDS if rule.get(key) is not None}}


def _applies(rule: JSON, of: Filtered) -> bool:
    if not isinstance(rule, dict) or not (rule.get("names") or rule.get("name")) or "action" not in rule:
        raise InvalidArgument("a rule of a seccomp profile has names and an action")
    included = all(_holds(kind, value, of) for kind, value in (rule.get("includes") or {}).items())
    return included and not any(_holds(kind, value, of) for kind, value in (rule.get("excludes") or {}).items())


def _holds(kind: str, value: JSON, of: Filtered) -> bool:
    if kind == "caps":
        return not of.capabilities.isdisjoint(value)
    if kind == "arches":
        return _ARCHITECTURES[of.machine][1] in value
    if kind == "minKernel":
        return _version(of.kernel) >= _version(str(value))
    raise InvalidArgument(f"a rule of a seccomp profile has the unknown condition {kind!r}")


def _version(release: str) -> tuple[int, ...]:
    match = re.match(r"(\d+)\.(\d+)", release)
    if match is None:
        raise InvalidArgument(f"{release!r} is no version of a kernel")
    return tuple(map(int, match.groups()))
