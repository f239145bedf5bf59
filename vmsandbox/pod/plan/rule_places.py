"""The field of a manifest that breaks a rule: the rules are those of the model (`sandbox.spec`), a file has lines."""

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from vmsandbox.errors import InvalidArgument, Unimplemented
from vmsandbox.model import NETWORK_ANNOTATION, ContainerConfig, ImageConfig, PodSandboxConfig
from vmsandbox.pod.api import Container, Pod, PodSpec
from vmsandbox.pod.plan.container_security import with_image_user
from vmsandbox.sandbox.spec import check_container, check_pod
from vmsandbox.typed_yaml import YamlNode

_POD = {"namespaces.network": "hostNetwork", "namespaces.user": "hostUsers"}
"""Where a pod's manifest has fields of the model that it calls otherwise."""

_SECURITY = {
    "security.privileged": "privileged",
    "security.run_as_user": "runAsUser",
    "security.run_as_group": "runAsGroup",
    "security.seccomp": "seccompProfile",
    "security.apparmor": "appArmorProfile",
}
_MOUNT = {
    "container_path": "mountPath",
    "readonly": "readOnly",
    "recursive_read_only": "recursiveReadOnly",
    "image_sub_path": "subPath",
}
_MOUNTS = re.compile(r"mounts\[(\d+)\]\.?(.*)")


def check_planned_pod(config: PodSandboxConfig, pod: Pod) -> None:
    """Hold a planned pod to the rules. Raises InvalidArgument, with file, line and field."""

    def place(field: str) -> YamlNode:
        if field == "annotations":
            return pod.metadata.at.of("annotations").of(NETWORK_ANNOTATION)
        if field == "port_mappings":
            return _first_host_port(pod.spec)
        name = _hostname(pod.spec) if field == "hostname" else _POD.get(field, field.partition(".")[0])
        return pod.spec.at.of(name)

    with _placed(place):
        check_pod(config)


def check_planned_container(
    config: ContainerConfig, pod: PodSandboxConfig, container: Container, spec: PodSpec
) -> None:
    """Hold a planned container to the rules. Raises InvalidArgument, with file, line and field.

    Args:
        config: of the container; its mounts are the first of its volumeMounts, in their order.
        pod: the sandbox that it is planned for.
        container: what the manifest says of it.
        spec: what the manifest says of its pod.
    """

    def place(field: str) -> YamlNode:
        if field in _SECURITY:
            return _security_place(_SECURITY[field], container, spec)
        if (found := _MOUNTS.match(field)) and int(found[1]) < len(container.volume_mounts):
            at = container.volume_mounts[int(found[1])].at
            return at.of(_MOUNT[found[2]]) if found[2] in _MOUNT else at
        return container.at.of("env" if field == "envs" else field.partition(".")[0])

    # A group without a user is the image's user's; which that is shows when the image is there.
    security = with_image_user(config.security, ImageConfig())
    with _placed(place):
        check_container(replace(config, security=security), pod)


def _hostname(spec: PodSpec) -> str:
    """Name the field that a pod's hostname comes from."""
    if spec.hostname_override:
        return "hostnameOverride"
    return "setHostnameAsFQDN" if spec.set_hostname_as_fqdn else "hostname"


def _first_host_port(spec: PodSpec) -> YamlNode:
    containers = (*spec.init_containers, *spec.containers)
    return next(port.at.of("hostPort") for each in containers for port in each.ports if port.host_port)


def _security_place(key: str, container: Container, spec: PodSpec) -> YamlNode:
    """The container's own, or the pod's where that has what the container does not say."""
    own, shared = container.security_context.at.of(key), spec.security_context.at.of(key)
    return shared if own.value is None and shared.value is not None else own


@contextlib.contextmanager
def _placed(place: Callable[[str], YamlNode]) -> Iterator[None]:
    try:
        yield
    except (InvalidArgument, Unimplemented) as error:
        raise place(error.field).error(error.message, hint=error.hint) from None
