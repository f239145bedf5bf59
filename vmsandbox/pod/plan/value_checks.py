"""Checks of values, which those of pod and container have in common. All raise InvalidArgument, with all mistakes."""

import re
from collections.abc import Iterable

from vmsandbox.errors import Collected
from vmsandbox.pod.api import ResourceRequirements
from vmsandbox.quantity import ZERO, Quantity
from vmsandbox.typed_yaml import YamlNode

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
SUBDOMAIN = re.compile(rf"(?=.{{1,253}}$){LABEL.pattern}(\.{LABEL.pattern})*")
KEY = re.compile(r"(?!\.\.?$)[-._a-zA-Z0-9]{1,253}")
SYSCTL = re.compile(r"[a-z0-9]([-_a-z0-9]*[a-z0-9])?([./][a-z0-9]([-_a-z0-9]*[a-z0-9])?)*")
_KNOWN_RESOURCES = ("cpu", "memory")
_SUPPORTED = "; supported are cpu and memory"
_REFUSED = {
    "ephemeral-storage": "the containers of a machine share a scratch disk, whose size is scratch_size in config.yaml",
}


def check_resources(resources: ResourceRequirements) -> None:
    """Known resources, and no request beyond its limit."""
    collected = Collected()
    for kind, quantities in (("limits", resources.limits), ("requests", resources.requests)):
        for name, quantity in quantities.items():
            at = resources.at.of(kind).of(name)
            collected.when(quantity < ZERO, at.error("it cannot be negative"))
            known = name in _KNOWN_RESOURCES or (kind, name) == ("requests", "ephemeral-storage")
            collected.when(not known, at.error(_REFUSED.get(name, "this resource is not supported") + _SUPPORTED))
    for name in _KNOWN_RESOURCES:
        limit: Quantity | None = resources.limits.get(name)
        request = resources.requests.get(name)
        if limit and request and request > limit > ZERO:
            collected.add((resources.at.of("requests").of(name).error("it is larger than the limit"),))
    collected.check()


def check_id(at: YamlNode, name: str, number: int | None) -> None:
    """A user or group id; `name` is the field's, in snake_case."""
    if number is not None and not 0 <= number < 2**31:
        first, *rest = name.split("_")
        key = first + "".join(word.capitalize() for word in rest)
        raise at.of(key).error(f"{number} is not a user or group id")


def matches(at: YamlNode, pattern: re.Pattern[str], text: str) -> None:
    """A name of the form that Kubernetes asks for."""
    if not pattern.fullmatch(text):
        raise at.error(f"{text[:80]!r} is not a valid name: use lower case letters, digits and -")


def unique(names: Iterable[tuple[YamlNode, str]], what: str) -> None:
    """No name twice."""
    seen: set[str] = set()
    collected = Collected()
    for at, name in names:
        collected.when(name in seen, at.error(f"there are two of this {what}: {name[:80]}"))
        seen.add(name)
    collected.check()
