"""The rules and specifications of pods and containers: pure functions, checked against golden files.

`rules` and `limits` say what is not possible, `states` which call is legal when. `machine_plan`, `sizing` and
`machine_spec` turn a pod into a machine and its guest's configuration; `container_spec`, with `container_mounts`,
`capabilities`,
`resources` and `seccomp`, turns a container into an OCI runtime-spec. `layout` names a sandbox's files.
"""

from vmsandbox.sandbox.spec.container_mounts import MountSource
from vmsandbox.sandbox.spec.container_spec import SpecInputs, build_process, build_spec, build_user
from vmsandbox.sandbox.spec.layout import SandboxLayout
from vmsandbox.sandbox.spec.machine_plan import MachinePlan, MachineProfile
from vmsandbox.sandbox.spec.machine_spec import build_machine_spec, domain_name, guest_configuration, hostname_of
from vmsandbox.sandbox.spec.resources import build_resources, updated_resources
from vmsandbox.sandbox.spec.rules import check_container, check_pod, check_update, user_namespace
from vmsandbox.sandbox.spec.seccomp import build_seccomp, find_default_seccomp
from vmsandbox.sandbox.spec.signals import signal_number, stop_signal
from vmsandbox.sandbox.spec.sizing import MachineSize, declared_vcpus, machine_size
from vmsandbox.sandbox.spec.states import ContainerCall, SandboxCall, require_container, require_sandbox

__all__ = [
    "ContainerCall",
    "MachinePlan",
    "MachineProfile",
    "MachineSize",
    "MountSource",
    "SandboxCall",
    "SandboxLayout",
    "SpecInputs",
    "build_machine_spec",
    "build_process",
    "build_resources",
    "build_seccomp",
    "build_spec",
    "build_user",
    "check_container",
    "check_pod",
    "check_update",
    "declared_vcpus",
    "domain_name",
    "find_default_seccomp",
    "guest_configuration",
    "hostname_of",
    "machine_size",
    "require_container",
    "require_sandbox",
    "signal_number",
    "stop_signal",
    "updated_resources",
    "user_namespace",
]
