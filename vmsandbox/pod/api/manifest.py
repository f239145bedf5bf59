"""Manifests: one pod, and the objects that it uses, from one or several YAML documents."""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from vmsandbox import typed_yaml
from vmsandbox.errors import Collected, InvalidArgument
from vmsandbox.pod.api.claims import PersistentVolumeClaim
from vmsandbox.pod.api.pod import ConfigMap, Pod, Secret
from vmsandbox.pod.api.workloads import WORKLOADS, Draft, draft_of
from vmsandbox.typed_yaml import YamlNode, decode, decode_all

T = TypeVar("T", ConfigMap, Secret, PersistentVolumeClaim)

_USED = {"ConfigMap": ConfigMap, "PersistentVolumeClaim": PersistentVolumeClaim, "Secret": Secret}
_LEFT_OUT = frozenset(
    {
        "Endpoints", "Event", "LimitRange", "Namespace", "Node", "PersistentVolume", "PodTemplate", "ResourceQuota",
        "Service", "ServiceAccount",
    }
)  # fmt: skip
"""Kinds of core/v1 that a single pod on a single node has no use for, as all of other groups."""
_KNOWN = ("Pod", *sorted(WORKLOADS), *_USED, "List")


@dataclass(frozen=True, slots=True)
class Manifest:
    """A pod, and by their names the objects that it may refer to, all of its namespace."""

    pod: Pod
    config_maps: dict[str, ConfigMap] = field(default_factory=dict)
    secrets: dict[str, Secret] = field(default_factory=dict)
    claims: dict[str, PersistentVolumeClaim] = field(default_factory=dict)
    notes: tuple[str, ...] = field(default=(), compare=False)
    """Sentences for a person: the parts of the files that mean nothing here."""


def read_manifest(files: Sequence[tuple[str, str]], only: str = "") -> Manifest:
    """The manifest that files hold together.

    Args:
        files: of each its name, for errors, and its text.
        only: which pod of several is meant: NAME or KIND/NAME of its object.

    Raises:
        InvalidArgument: it is no YAML; there is no pod or more than one; a kind or a field is not supported, is
            unknown, missing or malformed. All mistakes; each begins with file, line and field.
    """
    collected = Collected()
    documents = [node for source, text in files for node in collected.of(typed_yaml.read, text, source) or ()]
    collected.check()
    return manifest_of(documents, ", ".join(source for source, _ in files), only)


def manifest_of(documents: Sequence[YamlNode], sources: str = "", only: str = "") -> Manifest:
    """The manifest that documents make together; `sources` are their names. Raises as `read_manifest`."""
    reading = _Reading(Collected())
    for node in documents:
        reading.take(node)
    return reading.manifest(sources, only)


class _Reading:
    """Takes the objects of a manifest, and their mistakes."""

    def __init__(self, collected: Collected) -> None:
        self._collected = collected
        self._drafts: list[Draft] = []
        self._used: list[ConfigMap | Secret | PersistentVolumeClaim] = []
        self._left_out: list[str] = []

    def take(self, node: YamlNode) -> None:
        """Take an object, or those of a List."""
        with self._collected.part():
            for item in _items(node):
                self.take(item)
            if not _is_list(node):
                self._take(node)

    def _take(self, node: YamlNode) -> None:
        if not isinstance(node.value, dict):
            raise node.error("expected a mapping: an object of Kubernetes")
        kind, version = decode(str, node.of("kind")), decode(str, node.of("apiVersion"))
        name = decode(str, node.of("metadata").of("name"))
        if kind in WORKLOADS:
            self._drafts.append(draft_of(kind, node))
        elif kind == "Pod" or kind in _USED:
            if version != "v1":
                raise node.of("apiVersion").error(f"{kind} is of apiVersion v1, not {version[:80]!r}")
            if kind == "Pod":
                self._drafts.append(Draft(kind, name, node))
            else:
                self._use(_USED[kind], node)
        elif kind in _LEFT_OUT or (kind and "/" in version and version.partition("/")[0] not in ("apps", "batch")):
            self._left_out.append(f"{kind[:80]} {name[:80]}".rstrip())
        else:
            raise node.of("kind").error(_unknown_kind(kind), hint=_advice(kind))

    def _use(self, kind: type[ConfigMap] | type[Secret] | type[PersistentVolumeClaim], node: YamlNode) -> None:
        found, mistakes = decode_all(kind, node)
        self._collected.add(mistakes)
        if found is not None:
            self._used.append(found)

    def manifest(self, sources: str, only: str) -> Manifest:
        """The manifest of the objects that were taken."""
        draft = self._collected.of(self._chosen, sources, only)
        if draft is None:
            self._collected.check()
            raise AssertionError("a pod is chosen, or there is a mistake")
        pod, mistakes = decode_all(Pod, draft.pod)
        self._collected.add(mistakes)
        for claim in draft.claims:
            self._use(PersistentVolumeClaim, claim)
        for found in self._used if pod is not None else ():
            assert pod is not None
            self._collected.of(_check_namespace, found, pod)
        config_maps, secrets = self._named(ConfigMap), self._named(Secret)
        claims = self._named(PersistentVolumeClaim)
        self._collected.check()
        assert pod is not None
        return Manifest(pod, config_maps, secrets, claims, tuple(self._notes(draft)))

    def _named(self, kind: type[T]) -> dict[str, T]:
        return self._collected.of(_by_name, [found for found in self._used if isinstance(found, kind)]) or {}

    def _chosen(self, sources: str, only: str) -> Draft:
        names = [f"{draft.kind}/{draft.name}" for draft in self._drafts]
        meant = [draft for draft in self._drafts if only in ("", draft.name, f"{draft.kind}/{draft.name}")]
        if not self._drafts:
            hint = f"it holds {', '.join(self._left_out)}" if self._left_out else ""
            raise InvalidArgument(f"{sources}: there is no Pod in it", hint=hint)
        if not meant:
            raise InvalidArgument(f"--only {only[:80]}: there is no such pod", hint=f"one of {', '.join(names)}")
        if len(meant) > 1:
            shown = ", ".join(names)
            raise meant[1].pod.error("this is a second Pod; one is run at a time", hint=f"--only, one of {shown}")
        return meant[0]

    def _notes(self, draft: Draft) -> Iterator[str]:
        if draft.note:
            yield draft.note
        if self._left_out:
            yield f"left out, as one pod on one node has no use for it: {', '.join(self._left_out)}"
        if others := [f"{other.kind} {other.name}" for other in self._drafts if other is not draft]:
            yield f"not run (--only): {', '.join(others)}"


def _is_list(node: YamlNode) -> bool:
    return isinstance(node.value, dict) and str(node.of("kind").value).endswith("List")


def _items(node: YamlNode) -> tuple[YamlNode, ...]:
    items = node.of("items") if _is_list(node) else None
    if items is None or items.value is None:
        return ()
    if not isinstance(items.value, tuple):
        raise items.error("expected a list of objects")
    return items.value


def _unknown_kind(kind: str) -> str:
    known = ", ".join(_KNOWN)
    return f"{kind[:80]!r} is not supported; known are {known}" if kind else f"an object needs a kind: {known}"


def _advice(kind: str) -> str:
    near = difflib.get_close_matches(kind, _KNOWN, n=1)
    return f"did you mean {near[0]}?" if near else ""


def _check_namespace(found: ConfigMap | Secret | PersistentVolumeClaim, pod: Pod) -> None:
    if found.metadata.namespace != pod.metadata.namespace:
        raise found.metadata.at.of("namespace").error(
            f"the pod is in namespace {pod.metadata.namespace!r} and cannot use objects of another"
        )


def _by_name(objects: Sequence[T]) -> dict[str, T]:
    named: dict[str, T] = {}
    for found in objects:
        name = found.metadata.name
        if name in named:
            raise found.metadata.at.of("name").error(f"there are two {type(found).__name__}s of this name")
        named[name] = found
    return named
