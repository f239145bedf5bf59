"""Requests to the daemon, made of what containerd tells of a pod and of a container; pure functions.

Both become a config.json (runtime-spec), as containerd's own sandbox controller makes one for a pod.
"""

from collections.abc import Mapping
from typing import Any

from cri_api.v1 import api_pb2

SANDBOX = {"io.kubernetes.cri.container-type": "container"}
_SANDBOX_ID = "io.kubernetes.cri.sandbox-id"

_NODE, _POD = map(api_pb2.NamespaceMode.Value, ("NODE", "POD"))


def pod_config(config: api_pb2.PodSandboxConfig, network: str) -> dict[str, Any]:
    """Return the config.json of a pod's machine.

    Args:
        config: what containerd was asked for; a namespace of the node is missing in the result, and so refused.
        network: the path of the network namespace; empty: the node's.
    """
    linux, options = config.linux, config.linux.security_context.namespace_options
    namespaces: list[dict[str, str]] = [{"type": "mount"}, {"type": "uts"}]
    namespaces += [{"type": "network", "path": network}] if network else []
    namespaces += [{"type": kind} for kind in ("pid", "ipc") if getattr(options, kind) != _NODE]
    if options.HasField("userns_options") and options.userns_options.mode == _POD:
        namespaces.append({"type": "user"})
    return {
        "ociVersion": "1.0.2",
        "hostname": config.hostname or config.metadata.name,
        "annotations": dict(config.annotations),
        "linux": {
            "namespaces": namespaces,
            "sysctl": dict(linux.sysctls),
            "cgroupsPath": linux.cgroup_parent,
            "resources": _resources(linux.resources),
        },
    }


def container_config(
    config: Mapping[str, Any], sandbox: str, network: str, root: str, files: Mapping[str, str]
) -> dict[str, Any]:
    """Return the config.json of a container in a pod.

    Args:
        config: containerd's.
        sandbox: the id of the pod.
        network: the path of the pod's network namespace, which stands for all that the pod shares: containerd names
            those of the process that it was told of.
        root: the directory with the container's root.
        files: sources of binds by their destinations, where the config.json has no mount of that destination.
    """
    linux, mounts = config.get("linux") or {}, list(config.get("mounts") or ())
    has = {mount.get("destination") for mount in mounts}
    mounts += [_bind(source, destination) for destination, source in files.items() if destination not in has]
    return {
        **config,
        "annotations": {**(config.get("annotations") or {}), **SANDBOX, _SANDBOX_ID: sandbox},
        "root": {**(config.get("root") or {}), "path": root},
        "mounts": mounts,
        "linux": {
            **linux,
            "cgroupsPath": "",
            "namespaces": [_namespace(each, network) for each in linux.get("namespaces") or ()],
        },
    }


def pod_files(config: api_pb2.PodSandboxConfig) -> dict[str, str]:
    """Return the files that each container of a pod has unless it is given others: their contents by destination."""
    hostname = config.hostname or config.metadata.name
    dns = config.dns_config
    lines = [f"nameserver {server}" for server in dns.servers]
    lines += [
        f"{word} {' '.join(values)}" for word, values in (("search", dns.searches), ("options", dns.options)) if values
    ]
    return {
        "/etc/hostname": f"{hostname}\n",
        "/etc/hosts": f"127.0.0.1 localhost\n::1 localhost\n127.0.1.1 {hostname}\n",
        "/etc/resolv.conf": "".join(f"{line}\n" for line in lines),
    }


def _namespace(namespace: Mapping[str, Any], network: str) -> dict[str, Any]:
    return {**namespace, "path": network} if namespace.get("path") else dict(namespace)


def _bind(source: str, destination: str) -> dict[str, Any]:
    return {"destination": destination, "type": "bind", "source": source, "options": ["rbind", "rprivate", "rw"]}


def _resources(resources: Any) -> dict[str, Any]:
    cpu = {"period": resources.cpu_period, "quota": resources.cpu_quota, "shares": resources.cpu_shares}
    return {"cpu": cpu, "memory": {"limit": resources.memory_limit_in_bytes}}
