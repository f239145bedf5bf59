"""The Pod that the options ask for, as a document of plain values, which reads as YAML and JSON do."""

import re
from collections.abc import Iterator
from typing import Any

from vmsandbox.errors import Collected
from vmsandbox.model import NETWORK_ANNOTATION, NO_NETWORK
from vmsandbox.pod.options import values
from vmsandbox.pod.options.environment import environment
from vmsandbox.pod.options.run_options import OptionContext, RunOptions
from vmsandbox.pod.options.storage import Storage, storage
from vmsandbox.pod.options.values import literal, wrong

_GRACE = 10
"""Seconds that a container has to end, podman's --stop-timeout."""

_PULL = {"always": "Always", "missing": "IfNotPresent", "never": "Never"}
_RESTART = {"no": "Never", "on-failure": "OnFailure", "always": "Always", "unless-stopped": "Always"}
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_LONGEST_NAME = 40
"""Characters of a name that is made of an image's."""

_OPTIONS = {
    "metadata.name": "--name",
    "metadata.labels": "--label",
    "metadata.annotations": "--annotation",
    "spec.containers[0].image": "IMAGE",
    "spec.containers[0].command": "--entrypoint",
    "spec.containers[0].args": "COMMAND",
    "spec.containers[0].env": "--env",
    "spec.containers[0].ports": "--publish",
    "spec.containers[0].workingDir": "--workdir",
    "spec.containers[0].volumeMounts": "--volume",
    "spec.containers[0].resources.limits.memory": "--memory",
    "spec.containers[0].resources.limits.cpu": "--cpus",
    "spec.containers[0].securityContext.runAs": "--user",
    "spec.containers[0].securityContext.capabilities.add": "--cap-add",
    "spec.containers[0].securityContext.capabilities.drop": "--cap-drop",
    "spec.containers[0].securityContext.privileged": "--privileged",
    "spec.volumes": "--volume",
    "spec.hostname": "--hostname",
    "spec.hostAliases": "--add-host",
    "spec.dnsConfig": "--dns",
    "spec.runtimeClassName": "--runtime-class",
    "spec.securityContext.sysctls": "--sysctl",
    "spec.securityContext.supplementalGroups": "--group-add",
}


def option_of(path: str) -> str:
    """The option that a field of the document comes from: what an error about the field points at."""
    return next((option for prefix, option in _OPTIONS.items() if path.startswith(prefix)), "command line")


def pod_document(options: RunOptions, context: OptionContext) -> dict[str, Any]:
    """A Pod of core/v1 with one container, whose fields stand in the usual order.

    Raises:
        InvalidArgument: an option has a value that podman would refuse, or that a Pod cannot express; all of them.
    """
    collected = Collected()
    name = options.name or _made_name(options.image, context.suffix)
    metadata = collected.of(_metadata, options, name)
    held = collected.of(storage, options, context) or Storage()
    container = collected.of(_container, options, context, name, held, collected)
    spec = collected.of(_spec, options, held, collected)
    collected.check()
    assert metadata is not None and container is not None and spec is not None
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container], **spec}}


def _made_name(image: str, suffix: str) -> str:
    base = re.split(r"[:@]", image.rpartition("/")[2])[0].lower()
    base = re.sub(r"[^a-z0-9]+", "-", base)[:_LONGEST_NAME].strip("-")
    return f"{base or 'pod'}-{suffix}"


def _metadata(options: RunOptions, name: str) -> dict[str, Any]:
    if not _NAME.fullmatch(name):
        better = re.sub(r"[^a-z0-9]+", "-", name.lower())[:63].strip("-")
        hint = f"--name {better}" if better else "--name web"
        raise wrong("--name", f"{name[:80]!r} is not the name of a pod: lower case letters, digits and -", hint=hint)
    annotations = dict(values.pairs("--annotation", options.annotation))
    if options.network == NO_NETWORK:
        annotations[NETWORK_ANNOTATION] = NO_NETWORK
    return _filled({"name": name, "labels": values.labels(options.label), "annotations": annotations})


def _container(
    options: RunOptions, context: OptionContext, name: str, held: Storage, collected: Collected
) -> dict[str, Any]:
    return _filled(
        {
            "name": name,
            "image": collected.of(_image, options.image),
            "imagePullPolicy": collected.of(_chosen, "--pull", options.pull or "missing", _PULL),
            **(collected.of(_words, options) or {}),
            "workingDir": collected.of(values.absolute, "--workdir", options.workdir) if options.workdir else "",
            "env": collected.of(environment, options, context),
            "ports": [port for text in options.publish for port in collected.of(values.ports, text) or ()],
            "resources": collected.of(_resources, options),
            "volumeMounts": held.mounts,
            "securityContext": collected.of(_security, options),
            "stdin": options.interactive,
            "stdinOnce": options.interactive and not options.detach,
            "tty": options.tty,
        }
    )


def _image(name: str) -> str:
    if not name:
        raise wrong("IMAGE", "the name is empty", hint="vmsandbox run IMAGE")
    return name


def _words(options: RunOptions) -> dict[str, list[str]]:
    """Command and args; an entrypoint that is empty makes the image's a command without one."""
    args = [literal(word) for word in options.command]
    if options.entrypoint is None:
        return {"args": args}
    if not options.entrypoint:
        if not args:
            raise wrong("--entrypoint", "without one there has to be a COMMAND: a Pod cannot have the image's alone")
        return {"command": args}
    return {"command": [literal(word) for word in values.entrypoint(options.entrypoint)], "args": args}


def _resources(options: RunOptions) -> dict[str, Any]:
    memory = values.memory("--memory", options.memory) if options.memory else ""
    cpu = values.cpus(options.cpus) if options.cpus else ""
    return _filled({"limits": _filled({"cpu": cpu, "memory": memory})})


def _security(options: RunOptions) -> dict[str, Any]:
    added, dropped = values.capabilities(options.cap_add), values.capabilities(options.cap_drop)
    return _filled(
        {
            **(values.user(options.user) if options.user else {}),
            "privileged": options.privileged,
            "readOnlyRootFilesystem": options.read_only,
            "capabilities": _filled({"add": added, "drop": dropped}),
        }
    )


def _spec(options: RunOptions, held: Storage, collected: Collected) -> dict[str, Any]:
    collected.of(_check_network, options.network)
    grace = collected.of(values.number, "--stop-timeout", options.stop_timeout or str(_GRACE))
    spec = _filled(
        {
            "volumes": held.volumes,
            "restartPolicy": collected.of(_chosen, "--restart", options.restart or "no", _RESTART),
            "hostname": "" if "." in options.hostname else options.hostname,
            "hostnameOverride": options.hostname if "." in options.hostname else "",
            "hostAliases": list(collected.of(_aliases, options) or ()),
            "securityContext": collected.of(_pod_security, options),
            "runtimeClassName": options.runtime_class,
        }
    )
    if options.dns:
        spec |= {"dnsPolicy": "None", "dnsConfig": {"nameservers": list(options.dns)}}
    return spec | {"terminationGracePeriodSeconds": grace}


def _check_network(network: str) -> None:
    if network in ("", "default", NO_NETWORK):
        return
    if network == "host":
        reason = "a virtual machine cannot have the host's network; -p 8080:80 makes a port the host's"
        raise wrong("--network", reason)
    reason = f"{network[:80]!r}: all pods are on the node's one network (CNI), or on none"
    raise wrong("--network", reason)


def _pod_security(options: RunOptions) -> dict[str, Any]:
    groups = [values.number("--group-add", group) for group in options.group_add]
    for text in options.sysctl:
        if "=" not in text:
            raise wrong("--sysctl", f"{text[:80]!r} has no value", hint="--sysctl NAME=VALUE")
    sysctls = [{"name": name, "value": value} for name, value in values.pairs("--sysctl", options.sysctl)]
    return _filled({"supplementalGroups": groups, "sysctls": sysctls})


def _aliases(options: RunOptions) -> list[dict[str, Any]]:
    return list(_split_aliases(options))


def _split_aliases(options: RunOptions) -> Iterator[dict[str, Any]]:
    for text in options.add_host:
        name, colon, address = text.partition(":")
        if not (name and colon and address) or address == "host-gateway":
            raise wrong("--add-host", f"{text[:80]!r} is not a name and its address", hint="--add-host NAME:ADDRESS")
        yield {"ip": address.strip("[]"), "hostnames": name.split(";")}


def _chosen(option: str, text: str, words: dict[str, str]) -> str:
    if text not in words:
        raise wrong(option, f"{text[:80]!r} is not one of {', '.join(words)}")
    return words[text]


def _filled(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields that say something."""
    return {key: value for key, value in fields.items() if value not in (None, "", False, [], {})}
