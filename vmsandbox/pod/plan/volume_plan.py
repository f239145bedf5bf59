"""The content of a pod's volumes: a pure function of its manifest. `volumes` makes them on the host."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from vmsandbox.errors import Collected
from vmsandbox.model import Mount, PropagationMode
from vmsandbox.pod.api import (
    ClaimVolume,
    ConfigMap,
    DownwardFile,
    EmptyDir,
    HostPath,
    ImageVolume,
    KeyToPath,
    ProjectedSource,
    ProjectedVolume,
    Propagation,
    RecursiveReadOnly,
    Secret,
    Volume,
    VolumeMount,
)
from vmsandbox.pod.plan.pod_facts import PodFacts
from vmsandbox.pod.plan.value_checks import SUBDOMAIN, matches
from vmsandbox.pod.plan.variables import expand, missing, unknown_names
from vmsandbox.typed_yaml import YamlNode

DEFAULT_MODE = 0o644

_PROPAGATION = {
    Propagation.NONE: PropagationMode.PRIVATE,
    Propagation.HOST_TO_CONTAINER: PropagationMode.HOST_TO_CONTAINER,
    Propagation.BIDIRECTIONAL: PropagationMode.BIDIRECTIONAL,
}


@dataclass(frozen=True, slots=True)
class File:
    """A file of a configMap, secret, projected or downwardAPI volume."""

    content: bytes = field(repr=False)
    mode: int


@dataclass(frozen=True, slots=True)
class Files:
    """Files by their path below the volume's root."""

    files: dict[str, File]


@dataclass(frozen=True, slots=True)
class NamedVolumeUse:
    """A volume of the host, which outlives the pod."""

    name: str
    read_only: bool = False
    alone: bool = False
    """Whether no other pod may use it meanwhile."""


VolumePlan = EmptyDir | HostPath | ImageVolume | Files | NamedVolumeUse


def plan_volumes(facts: PodFacts) -> dict[str, VolumePlan]:
    """The volumes of a pod by name.

    Raises:
        InvalidArgument: volumes have no source or several, or refer to what does not exist.
    """
    collected = Collected()
    planned = {volume.name: collected.of(_plan, facts, volume) for volume in facts.pod.spec.volumes}
    collected.check()
    return {name: plan for name, plan in planned.items() if plan is not None}


def mount_of(mount: VolumeMount, volume: VolumePlan) -> Mount:
    """Plan a mount of a volume: all but its source, which is made when the pod runs."""
    return Mount(
        mount.mount_path,
        readonly=mount.read_only or _is_read_only(volume),
        recursive_read_only=mount.recursive_read_only is not RecursiveReadOnly.DISABLED,
        propagation=_PROPAGATION[mount.mount_propagation],
    )


def _is_read_only(volume: VolumePlan) -> bool:
    return isinstance(volume, (Files, ImageVolume)) or (isinstance(volume, NamedVolumeUse) and volume.read_only)


def sub_path_of(mount: VolumeMount, environment: Mapping[str, str]) -> str:
    """The sub-path of a mount in a container with these variables; empty: the whole volume.

    Raises:
        InvalidArgument: an expression refers to a variable that is not there, or gives no path below the volume.
    """
    if not mount.sub_path_expr:
        return mount.sub_path
    at = mount.at.of("subPathExpr")
    if unknown := unknown_names(mount.sub_path_expr, environment):
        raise at.error(f"there is no variable {unknown[0][:80]!r}")
    path = expand(mount.sub_path_expr, environment)
    if path.startswith("/") or ".." in path.split("/"):
        raise at.error(f"{path[:80]!r} is not a path below the volume")
    return path


def check_sub_path(mount: VolumeMount, volume: VolumePlan, environment: Mapping[str, str]) -> None:
    """Raise InvalidArgument for a sub-path that is not valid, or not among the files of a configMap or the like."""
    wanted = PurePosixPath(sub_path_of(mount, environment))
    if isinstance(volume, Files) and wanted.parts:
        there = {path for name in volume.files for path in (PurePosixPath(name), *PurePosixPath(name).parents)}
        if wanted not in there:
            at = mount.at.of("subPathExpr" if mount.sub_path_expr else "subPath")
            raise at.error(f"there is no {str(wanted)[:80]!r} in the volume")


def _plan(facts: PodFacts, volume: Volume) -> VolumePlan:
    given = (
        volume.empty_dir, volume.host_path, volume.image,
        volume.config_map, volume.secret, volume.projected, volume.downward, volume.persistent_volume_claim,
    )  # fmt: skip
    sources = [source for source in given if source is not None]
    if not sources:
        return EmptyDir(at=volume.at)  # As Kubernetes' defaults have it.
    if len(sources) > 1:
        raise volume.at.error("a volume needs exactly one source")
    source = sources[0]
    if isinstance(source, (EmptyDir, HostPath, ImageVolume)):
        return source
    if isinstance(source, ClaimVolume):
        return _named_volume(facts, source)
    return Files(_collected(volume.at, tuple(_files(facts, volume))))


def _named_volume(facts: PodFacts, source: ClaimVolume) -> NamedVolumeUse:
    """The volume of a claim's name; a claim that the files hold says how it may be used."""
    matches(source.at.of("claimName"), SUBDOMAIN, source.claim_name)
    claim = facts.manifest.claims.get(source.claim_name)
    read_only = source.read_only or (claim is not None and claim.spec.read_only)
    return NamedVolumeUse(source.claim_name, read_only, claim is not None and claim.spec.alone)


def _collected(at: YamlNode, files: Sequence[tuple[str, File]]) -> dict[str, File]:
    """One tree; a path that is a file to one and a directory to another is an error."""
    tree = dict(files)
    for path in tree:
        above = next((str(parent) for parent in PurePosixPath(path).parents if str(parent) in tree), None)
        if above:
            raise at.error(f"{above!r} is a file, and cannot hold {path!r}")
    return tree


def _files(facts: PodFacts, volume: Volume) -> Iterator[tuple[str, File]]:
    manifest = facts.manifest
    if source := volume.config_map:
        at, optional = source.at.of("name"), source.optional
        content = _content(at, "ConfigMap", source.name, manifest.config_maps.get(source.name), optional)
        yield from _of_content(source.at, content, source.items, source.default_mode, optional)
    if secret := volume.secret:
        at, optional = secret.at.of("secretName"), secret.optional
        content = _content(at, "Secret", secret.secret_name, manifest.secrets.get(secret.secret_name), optional)
        yield from _of_content(secret.at, content, secret.items, secret.default_mode, optional)
    if downward := volume.downward:
        yield from _of_downward(facts, downward.items, downward.default_mode)
    if projected := volume.projected:
        yield from _of_projected(facts, projected)


def _of_projected(facts: PodFacts, projected: ProjectedVolume) -> Iterator[tuple[str, File]]:
    for source in projected.sources:
        if sum(given is not None for given in (source.config_map, source.secret, source.downward)) != 1:
            raise source.at.error("a projection needs exactly one source")
        yield from _of_projection(facts, source, projected.default_mode)


def _of_projection(facts: PodFacts, source: ProjectedSource, mode: int | None) -> Iterator[tuple[str, File]]:
    if source.downward:
        yield from _of_downward(facts, source.downward.items, mode)
        return
    projection = source.config_map or source.secret
    assert projection
    kind = "ConfigMap" if source.config_map else "Secret"
    known: dict[str, ConfigMap] | dict[str, Secret] = (
        facts.manifest.config_maps if source.config_map else facts.manifest.secrets
    )
    found = known.get(projection.name)
    content = _content(projection.at.of("name"), kind, projection.name, found, projection.optional)
    yield from _of_content(projection.at, content, projection.items, mode, projection.optional)


def _content(at: YamlNode, kind: str, name: str, found: ConfigMap | Secret | None, optional: bool) -> dict[str, bytes]:
    if found is None and not optional:
        raise missing(at, kind, name)
    return found.content if found else {}


def _of_content(
    at: YamlNode, content: dict[str, bytes], items: Sequence[KeyToPath], default_mode: int | None, optional: bool
) -> Iterator[tuple[str, File]]:
    mode = _mode(at.of("defaultMode"), default_mode, DEFAULT_MODE)
    if not items:
        for key, value in content.items():
            yield _path(at, key), File(value, mode)
    for item in items:
        if item.key in content:
            yield (
                _path(item.at.of("path"), item.path),
                File(content[item.key], _mode(item.at.of("mode"), item.mode, mode)),
            )
        elif not optional:
            raise item.at.of("key").error(f"there is no key {item.key[:80]!r}")


def _of_downward(
    facts: PodFacts, items: Sequence[DownwardFile], default_mode: int | None
) -> Iterator[tuple[str, File]]:
    for item in items:
        mode = _mode(item.at.of("mode"), item.mode, _mode(item.at, default_mode, DEFAULT_MODE))
        if (item.field_ref is None) == (item.resource_field_ref is None):
            raise item.at.error("a file needs a fieldRef or a resourceFieldRef")
        if item.field_ref:
            text = facts.field(item.field_ref, volume=True)
        else:
            assert item.resource_field_ref
            text = facts.resource(item.resource_field_ref, facts.container(item.resource_field_ref, None))
        yield _path(item.at.of("path"), item.path), File(text.encode(), mode)


def _mode(at: YamlNode, mode: int | None, default: int) -> int:
    if mode is not None and not 0 <= mode <= 0o777:
        raise at.error("a mode is between 0 and 0777 (decimal 511)")
    return default if mode is None else mode


def _path(at: YamlNode, path: str) -> str:
    """A path below the volume, in the form in which equal paths are equal."""
    parts = path.split("/")
    if not path or ".." in parts or path.startswith(("/", "..")) or "\0" in path:
        raise at.error(f"{path[:80]!r} is not a path below the volume")
    return str(PurePosixPath(path))
