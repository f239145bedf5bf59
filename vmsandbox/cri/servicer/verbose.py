"""The additions of verbose statuses: one JSON object under `info`, as in containerd. docs/cli-json.md describes it."""

import json
from dataclasses import asdict
from typing import Any

from vmsandbox.cri.convert import container_config_to_cri, sandbox_config_to_cri
from vmsandbox.cri.servicer.base import config_document
from vmsandbox.model import ContainerStatus, HostCgroup, MachineDetails, Resources, SandboxStatus
from vmsandbox.protocol.codec import JSON


def sandbox_info(sandbox: SandboxStatus, machine: MachineDetails) -> dict[str, str]:
    """Return the additions of PodSandboxStatus."""
    info = {
        "runtimeHandler": sandbox.config.runtime_handler,
        "runtimeType": "vmsandbox",
        "machine": _machine(sandbox, machine),
        "resources": _resources(sandbox, machine),
        "processes": [_in_camel_case(asdict(process)) for process in machine.processes],
        "cgroups": [_cgroup(cgroup) for cgroup in machine.cgroups],
        "kernel": sandbox.kernel,
        "bootTimings": asdict(sandbox.timings),
        "startTimings": asdict(sandbox.start),
        "message": sandbox.message,
        "ending": sandbox.ending,
        "config": config_document(sandbox_config_to_cri, sandbox.config),
    }
    return {"info": json.dumps(info)}


def container_info(container: ContainerStatus) -> dict[str, str]:
    """Return the additions of ContainerStatus."""
    info = {
        "sandboxID": container.sandbox_id,
        "runtimeType": "vmsandbox",
        "startTimings": asdict(container.timings),
        "config": config_document(container_config_to_cri, container.config),
    }
    return {"info": json.dumps(info)}


def _machine(sandbox: SandboxStatus, machine: MachineDetails) -> dict[str, Any]:
    return {
        "name": machine.name,
        "uuid": machine.uuid,
        "libvirt": machine.libvirt,
        "qemuPid": machine.qemu_pid,
        "accelerator": sandbox.accelerator,
        "vcpus": sandbox.vcpus,
        "memory": sandbox.memory,
        "booted": asdict(sandbox.booted) if sandbox.booted is not None else None,
        "most": asdict(sandbox.most) if sandbox.most is not None else None,
        "boots": sandbox.boots,
    }


def _resources(sandbox: SandboxStatus, machine: MachineDetails) -> dict[str, Any]:
    """Return what the pod declares, and what the node's budget counts for it."""
    return {
        "declared": _declared(sandbox.config.resources),
        "overhead": _declared(sandbox.config.overhead),
        "committedMemory": machine.committed_memory,
    }


def _declared(resources: Resources) -> dict[str, JSON]:
    """Return limits in the words and units of cgroups (`_cgroup`); None stands for one that is not set."""
    return {
        "memoryLimit": resources.memory_limit or None,
        "cpuLimit": resources.cpu_quota / (resources.cpu_period or 100_000) if resources.cpu_quota > 0 else None,
        "cpuShares": resources.cpu_shares or None,
    }


def _cgroup(cgroup: HostCgroup) -> dict[str, JSON]:
    return _in_camel_case(asdict(cgroup))


def _in_camel_case(fields: dict[str, Any]) -> dict[str, Any]:
    first = {name: name.split("_") for name in fields}
    return {words[0] + "".join(map(str.title, words[1:])): fields[name] for name, words in first.items()}
