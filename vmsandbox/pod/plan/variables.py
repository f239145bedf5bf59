"""The variables of a container: envFrom first, in order, then env, whose values may refer to those before them.

References are $(NAME), also in commands, arguments and sub-paths, and are expanded as Kubernetes does it: `$$` is a
dollar sign; a name that is not known, and a reference that is not closed, stay as they are written.
"""

import re
from collections.abc import Mapping

from vmsandbox.errors import Collected, InvalidArgument
from vmsandbox.pod.api import (
    ConfigMap,
    Container,
    EnvFromSource,
    EnvVar,
    EnvVarSource,
    KeySelector,
    Manifest,
    ObjectReference,
    Secret,
)
from vmsandbox.pod.plan.pod_facts import PodFacts
from vmsandbox.typed_yaml import YamlNode

_REFERENCE = re.compile(r"\$(?:\$|\(([^)]*)\))")


def expand(text: str, values: Mapping[str, str]) -> str:
    """`text` with its references to `values` replaced; what a value holds is not expanded again."""

    def replaced(match: re.Match[str]) -> str:
        name = match[1]
        return "$" if name is None else values.get(name, match[0])

    return _REFERENCE.sub(replaced, text)


def unknown_names(text: str, values: Mapping[str, str]) -> tuple[str, ...]:
    """The names that `text` refers to and `values` does not have, in their order."""
    names = (match[1] for match in _REFERENCE.finditer(text) if match[1] is not None)
    return tuple(name for name in names if name not in values)


_NAME = re.compile(r"[ -<>-~]+")
"""Printable ASCII but `=`, as in Kubernetes since 1.30."""


def environment(facts: PodFacts, container: Container) -> dict[str, str]:
    """Names and values, for CRI `envs`; those of the image are not among them.

    Raises:
        InvalidArgument: variables refer to what does not exist, or have names that no variable can have.
    """
    values: dict[str, str] = {}
    collected = Collected()
    for source in container.env_from:
        values.update(collected.of(_all_of, facts.manifest, source) or {})
    for variable in container.env:
        wrong = variable.at.of("name").error(f"{variable.name[:80]!r} cannot be the name of a variable")
        collected.when(not _NAME.fullmatch(variable.name), wrong)
        value = collected.of(_value, facts, container, variable, values)
        if value is not None:
            values[variable.name] = value
    collected.check()
    return values


def _value(facts: PodFacts, container: Container, variable: EnvVar, values: dict[str, str]) -> str | None:
    if variable.value_from is None:
        return expand(variable.value, values)
    if variable.value:
        raise variable.at.error("a variable has a value or a valueFrom, not both")
    return _from(facts, container, variable.value_from)


def _from(facts: PodFacts, container: Container, source: EnvVarSource) -> str | None:
    given = [source.field_ref, source.resource_field_ref, source.config_map_key_ref, source.secret_key_ref]
    if sum(reference is not None for reference in given) != 1:
        raise source.at.error("valueFrom needs exactly one source")
    if source.field_ref:
        return facts.field(source.field_ref)
    if source.resource_field_ref:
        selector = source.resource_field_ref
        return facts.resource(selector, facts.container(selector, container))
    manifest = facts.manifest
    if key := source.config_map_key_ref:
        return _key(key, "ConfigMap", manifest.config_maps.get(key.name))
    assert source.secret_key_ref
    return _key(source.secret_key_ref, "Secret", manifest.secrets.get(source.secret_key_ref.name))


def _key(selector: KeySelector, kind: str, found: ConfigMap | Secret | None) -> str | None:
    values = _values(found)
    if selector.key in values:
        return _text(values[selector.key], selector.at)
    if selector.optional:
        return None
    if found is None:
        raise missing(selector.at.of("name"), kind, selector.name)
    raise selector.at.of("key").error(f"{kind} {selector.name!r} has no key {selector.key[:80]!r}")


def _all_of(manifest: Manifest, source: EnvFromSource) -> dict[str, str]:
    if (source.config_map_ref is None) == (source.secret_ref is None):
        raise source.at.error("envFrom needs a configMapRef or a secretRef")
    if source.config_map_ref:
        content = _content(source.config_map_ref, "ConfigMap", manifest.config_maps.get(source.config_map_ref.name))
    else:
        assert source.secret_ref
        content = _content(source.secret_ref, "Secret", manifest.secrets.get(source.secret_ref.name))
    if not _NAME.fullmatch(source.prefix or "X"):
        raise source.at.of("prefix").error(f"{source.prefix[:80]!r} cannot begin the name of a variable")
    return {source.prefix + key: _text(value, source.at) for key, value in content.items()}


def _content(reference: ObjectReference, kind: str, found: ConfigMap | Secret | None) -> dict[str, bytes]:
    if found is None and not reference.optional:
        raise missing(reference.at.of("name"), kind, reference.name)
    return _values(found)


def _values(found: ConfigMap | Secret | None) -> dict[str, bytes]:
    """Return the values that can be variables; binaryData of a ConfigMap is only for files."""
    if isinstance(found, ConfigMap):
        return {key: value.encode() for key, value in found.data.items()}
    return found.content if found else {}


def missing(at: YamlNode, kind: str, name: str) -> InvalidArgument:
    """The error for a ConfigMap or Secret that no document holds."""
    return at.error(f"there is no {kind} {name[:80]!r}", hint="add it to the file as a document of its own")


def _text(value: bytes, at: YamlNode) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise at.error("a variable cannot hold bytes that are not UTF-8; mount it as a file") from None
    if "\0" in text:
        raise at.error("a variable cannot hold a NUL")
    return text
