"""The rules and specifications of pods and containers: pure functions, checked against golden files.

`rules` and `limits` say what is not possible, `states` which call is legal when. `machine_plan`, `sizing` and
`machine_spec` turn a pod into a machine and its guest's configuration; `container_spec`, with `container_mounts`,
`capabilities`, `resources` and `seccomp`, turns a container into an OCI runtime-spec; `given_spec` completes one that a
caller has made. `layout` names a sandbox's files.
"""

from vmsandbox.sandbox.spec.container_mounts import MountSource
from vmsandbox.sandbox.spec.container_spec import SpecInputs, build_process, build_spec, build_user
from vmsandbox.sandbox.spec.given_spec import READ_ONLY, RECURSIVE, given_user
from vmsandbox.sandbox.spec.layout import SandboxLayout
from vmsandbox.sandbox.spec.machine_plan import MachinePlan, MachineProfile
from vmsandbox.sandbox.spec.machine_spec import (
    WAITING_MAC,
    bare_machine_spec,
    build_machine_spec,
    domain_name,
    domain_uuid,
    guest_configuration,
    hostname_of,
    late_network_spec,
    waiting_configuration,
    waiting_machine_spec,
)
from vmsandbox.sandbox.spec.resources import build_resources, build_update, updated_resources
from vmsandbox.sandbox.spec.rules import check_container, check_declaration, check_pod, check_update, user_namespace
from vmsandbox.sandbox.spec.seccomp import build_seccomp, find_default_seccomp
from vmsandbox.sandbox.spec.signals import signal_number, stop_signal
from vmsandbox.sandbox.spec.sizing import (
    charged,
    cpu_time,
    declares_more,
    given_size,
    larger,
    outgrown,
    size_rules,
    steps_of,
    updated_declaration,
    wanted_size,
)
from vmsandbox.sandbox.spec.states import ContainerCall, SandboxCall, require_container, require_sandbox

__all__ = [
    "READ_ONLY",
    "RECURSIVE",
    "WAITING_MAC",
    "ContainerCall",
    "MachinePlan",
    "MachineProfile",
    "MountSource",
    "SandboxCall",
    "SandboxLayout",
    "SpecInputs",
    "bare_machine_spec",
    "build_machine_spec",
    "build_process",
    "build_resources",
    "build_seccomp",
    "build_spec",
    "build_update",
    "build_user",
    "charged",
    "check_container",
    "check_declaration",
    "check_pod",
    "check_update",
    "cpu_time",
    "declares_more",
    "domain_name",
    "domain_uuid",
    "find_default_seccomp",
    "given_size",
    "given_user",
    "guest_configuration",
    "hostname_of",
    "larger",
    "late_network_spec",
    "outgrown",
    "require_container",
    "require_sandbox",
    "signal_number",
    "size_rules",
    "steps_of",
    "stop_signal",
    "updated_declaration",
    "updated_resources",
    "user_namespace",
    "waiting_configuration",
    "waiting_machine_spec",
    "wanted_size",
]
