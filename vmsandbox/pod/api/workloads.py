"""Kinds with a template of pods, as one pod of it: what a cluster's controller would make first, where it stands alone.

All is done on the YAML's values, which keep their lines, before anything of them is decoded.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from vmsandbox.typed_yaml import YamlNode, decode

_GROUPS = {
    "DaemonSet": ("apps", "extensions"),
    "Deployment": ("apps", "extensions"),
    "ReplicaSet": ("apps", "extensions"),
    "StatefulSet": ("apps",),
    "CronJob": ("batch",),
    "Job": ("batch",),
    "ReplicationController": ("",),
}
WORKLOADS = frozenset(_GROUPS)
_HONOURED = frozenset({"jobTemplate", "selector", "serviceName", "template", "volumeClaimTemplates"})


@dataclass(frozen=True, slots=True)
class Draft:
    """A pod that is not decoded yet."""

    kind: str
    name: str
    """The name of the object that it comes from."""
    pod: YamlNode
    claims: tuple[YamlNode, ...] = ()
    note: str = ""
    """The parts of the object that mean nothing here; empty for a Pod."""


def draft_of(kind: str, node: YamlNode) -> Draft:
    """The first pod of an object of a kind of `WORKLOADS`.

    Raises:
        InvalidArgument: it has another group, no name or no template.
    """
    _check_group(kind, node)
    spec = node.of("spec")
    job = spec.of("jobTemplate").of("spec") if kind == "CronJob" else spec
    template, metadata = job.of("template"), node.of("metadata")
    if not isinstance(template.value, dict):
        raise template.error("this field is required: the pod that is run")
    name = decode(str, metadata.of("name")) or decode(str, metadata.of("generateName")).rstrip("-")
    if not name:
        raise metadata.of("name").error("this field is required")
    pod_name = f"{name}-0" if kind == "StatefulSet" else name
    claims = _claims(spec, pod_name) if kind == "StatefulSet" else {}
    pod_spec = template.of("spec")
    if kind == "StatefulSet":
        pod_spec = _as_of_set(pod_spec, spec, pod_name, claims)
    fields = {"metadata": _metadata(template.of("metadata"), metadata, pod_name), "spec": pod_spec}
    pod = _text(node.of("kind"), "Pod")
    made = replace(node, value={"apiVersion": _text(node.of("apiVersion"), "v1"), "kind": pod, **fields})
    with_namespace = tuple(_with_namespace(claim, metadata) for claim in claims.values())
    return Draft(kind, name, made, with_namespace, _note(kind, name, spec))


def _check_group(kind: str, node: YamlNode) -> None:
    group = decode(str, node.of("apiVersion")).rpartition("/")[0]
    if group not in _GROUPS[kind]:
        version = "v1" if "" in _GROUPS[kind] else f"{_GROUPS[kind][0]}/v1"
        raise node.of("apiVersion").error(f"{kind} is of apiVersion {version}")


def _metadata(template: YamlNode, own: YamlNode, name: str) -> YamlNode:
    """The template's labels and annotations, under the name and in the namespace of the object."""
    fields = {key: value for key, value in _mapping(template).items() if key not in ("generateName", "namespace")}
    return _with_namespace(_with(template, {**fields, "name": _text(own.of("name"), name)}), own, in_metadata=False)


def _with_namespace(made: YamlNode, own: YamlNode, *, in_metadata: bool = True) -> YamlNode:
    namespace = own.of("namespace")
    if namespace.value is None:
        return made
    if not in_metadata:
        return _with(made, {**_mapping(made), "namespace": namespace})
    metadata = made.of("metadata")
    return _with(made, {**_mapping(made), "metadata": _with(metadata, {**_mapping(metadata), "namespace": namespace})})


def _claims(spec: YamlNode, pod_name: str) -> dict[str, YamlNode]:
    """The claims of a StatefulSet's pod, by the names of their volumes: VOLUME-POD, as its controller calls them."""
    templates = spec.of("volumeClaimTemplates")
    claims: dict[str, YamlNode] = {}
    for template in templates.value if isinstance(templates.value, tuple) else ():
        metadata = template.of("metadata")
        volume = decode(str, metadata.of("name"))
        named = _with(metadata, {**_mapping(metadata), "name": _text(metadata.of("name"), f"{volume}-{pod_name}")})
        kind = {"apiVersion": _text(template, "v1"), "kind": _text(template, "PersistentVolumeClaim")}
        claims[volume] = _with(template, {**_mapping(template), **kind, "metadata": named})
    return claims


def _as_of_set(pod_spec: YamlNode, spec: YamlNode, pod_name: str, claims: Mapping[str, YamlNode]) -> YamlNode:
    """The pod with its claims as volumes, and the name that the set's service gives to it."""
    volumes = pod_spec.of("volumes")
    own = volumes.value if isinstance(volumes.value, tuple) else ()
    kept = tuple(volume for volume in own if volume.of("name").value not in claims)
    made = tuple(_volume(name, claim) for name, claim in claims.items())
    fields = {"hostname": _text(pod_spec.of("hostname"), pod_name)}
    if spec.of("serviceName").value is not None:
        fields["subdomain"] = spec.of("serviceName")
    return _with(pod_spec, {**fields, **_mapping(pod_spec), "volumes": replace(volumes, value=kept + made)})


def _volume(name: str, claim: YamlNode) -> YamlNode:
    source = _with(claim, {"claimName": claim.of("metadata").of("name")})
    return _with(claim, {"name": _text(claim, name), "persistentVolumeClaim": source})


def _note(kind: str, name: str, spec: YamlNode) -> str:
    others = {key: value for key, value in _mapping(spec).items() if key not in _HONOURED}
    left = [f"{key}: {value.text}" if value.text else key for key, value in others.items()]
    once = "runs once, now" if kind == "CronJob" else "one pod of its template runs"
    return f"{kind} {name}: {once}" + (f"; left out: {', '.join(left)}" if left else "")


def _mapping(node: YamlNode) -> dict[str, YamlNode]:
    return node.value if isinstance(node.value, dict) else {}


def _with(node: YamlNode, fields: dict[str, YamlNode]) -> YamlNode:
    return replace(node, value=fields)


def _text(node: YamlNode, text: str) -> YamlNode:
    return replace(node, value=text, text=text)
