"""Manifests: one Pod, and the ConfigMaps and Secrets that it uses, from one or several YAML documents."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from vmsandbox.errors import InvalidArgument
from vmsandbox.pod.api.pod import ConfigMap, Pod, Secret
from vmsandbox.typed_yaml import YamlNode, decode, read

T = TypeVar("T", ConfigMap, Secret)

_KINDS = {"Pod": Pod, "ConfigMap": ConfigMap, "Secret": Secret}
_WITH_TEMPLATE = ("DaemonSet", "Deployment", "Job", "ReplicaSet", "ReplicationController", "StatefulSet")


@dataclass(frozen=True, slots=True)
class Manifest:
    """A pod, and by their names the objects that it may refer to, all of its namespace."""

    pod: Pod
    config_maps: dict[str, ConfigMap] = field(default_factory=dict)
    secrets: dict[str, Secret] = field(default_factory=dict)


def read_manifest(files: Sequence[tuple[str, str]]) -> Manifest:
    """The manifest that files hold together.

    Args:
        files: of each its name, for errors, and its text.

    Raises:
        InvalidArgument: it is no YAML; there is no pod or more than one; a kind or a field is not supported, is
            unknown, missing or malformed. The message begins with file, line and field.
    """
    sources = ", ".join(source for source, _ in files)
    return manifest_of([node for source, text in files for node in read(text, source)], sources)


def manifest_of(documents: Sequence[YamlNode], sources: str = "") -> Manifest:
    """The manifest that documents make together; `sources` are their names. Raises as `read_manifest`."""
    objects = [_object(node) for node in documents]
    pods = [found for found in objects if isinstance(found, Pod)]
    if not pods:
        raise InvalidArgument(f"{sources}: there is no Pod in it")
    if len(pods) > 1:
        raise pods[1].at.error("this is a second Pod; one is run at a time")
    for found in objects:
        _check_namespace(found, pods[0])
    config_maps = _named([found for found in objects if isinstance(found, ConfigMap)])
    return Manifest(pods[0], config_maps, _named([found for found in objects if isinstance(found, Secret)]))


def _object(node: YamlNode) -> Pod | ConfigMap | Secret:
    if not isinstance(node.value, dict):
        raise node.error("expected a mapping: an object of Kubernetes")
    kind = decode(str, node.of("kind"))
    version = decode(str, node.of("apiVersion"))
    if kind not in _KINDS:
        raise node.of("kind").error(_unknown_kind(kind), hint=_advice(kind))
    if version != "v1":
        raise node.of("apiVersion").error(f"{kind} is of apiVersion v1, not {version[:80]!r}")
    return decode(_KINDS[kind], node)


def _unknown_kind(kind: str) -> str:
    known = ", ".join(_KINDS)
    return f"{kind[:80]!r} is not supported; known are {known}" if kind else f"an object needs a kind: {known}"


def _advice(kind: str) -> str:
    if kind in _WITH_TEMPLATE:
        return f"make a Pod of the {kind}'s template: its metadata and spec, under kind: Pod and a name"
    near = difflib.get_close_matches(kind, _KINDS, n=1)
    return f"did you mean {near[0]}?" if near else ""


def _check_namespace(found: Pod | ConfigMap | Secret, pod: Pod) -> None:
    if found.metadata.namespace != pod.metadata.namespace:
        raise found.metadata.at.of("namespace").error(
            f"the pod is in namespace {pod.metadata.namespace!r} and cannot use objects of another"
        )


def _named(objects: Sequence[T]) -> dict[str, T]:
    named: dict[str, T] = {}
    for found in objects:
        name = found.metadata.name
        if name in named:
            raise found.metadata.at.of("name").error(f"there are two {type(found).__name__}s of this name")
        named[name] = found
    return named
