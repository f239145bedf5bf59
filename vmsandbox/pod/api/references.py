"""core/v1: what points at a field of the pod, or at a key of another object."""

from dataclasses import dataclass
from typing import ClassVar

from vmsandbox.quantity import Quantity
from vmsandbox.typed_yaml import Located


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectFieldSelector(Located):
    """ObjectFieldSelector."""

    IGNORED: ClassVar = frozenset({"apiVersion"})

    field_path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceFieldSelector(Located):
    """ResourceFieldSelector."""

    resource: str
    container_name: str = ""
    divisor: Quantity | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySelector(Located):
    """ConfigMapKeySelector, SecretKeySelector."""

    name: str
    key: str
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectReference(Located):
    """ConfigMapEnvSource, SecretEnvSource."""

    name: str
    optional: bool = False
