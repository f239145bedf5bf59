"""Attacks from inside a real machine: each a few lines of shell for the busybox stand-in, with a name.

A test runs a pod that may do all that a guest's root may, and lets attacks loose in it, at once or one after another:

    with cri.pod(linux={"security_context": PRIVILEGED}) as pod:
        attack(pod, "floods its output")

What an agent may do to its host is in `tests.fakes.hostile_agent`; what may happen to a machine from outside of it (its
QEMU stopped or killed) in `tests.support.libvirt`.
"""

from collections.abc import Mapping

from cri_api.v1 import api_pb2 as pb

from tests.support.conformance_client import Container, Pod

PRIVILEGED = {"privileged": True, "namespace_options": {"pid": pb.NODE, "ipc": pb.NODE}}
"""Security context of a pod, and of its containers, that may do what the guest's root may, to all its processes."""

_SHARE = "mkdir -p /s && mount -t virtiofs vmsandbox /s && cd /s"
_SYSRQ = "echo 1 > /proc/sys/kernel/sysrq; echo %s > /proc/sysrq-trigger"
_SAY_DONE = "echo done; sleep 3600"

ATTACKS: Mapping[str, str] = {
    # What a container of any pod can do.
    "floods its output": "yes ''",
    "floods both streams": "yes '' & exec yes '' >&2",
    "prints long lines": "exec cat /dev/zero",
    "fills its disk": f"dd if=/dev/zero of=/full bs=1M; {_SAY_DONE}",
    "makes files without end": "i=0; while :; do i=$((i+1)); echo > /file.$i; done",
    "forks without end": "f() { f | f & f; }; f",
    "eats its memory": "exec tail /dev/zero",
    "spins": "for cpu in 1 2 3 4; do while :; do :; done & done; wait",
    "ignores its signals": "trap '' TERM HUP INT; while :; do sleep 1; done",
    # What takes the guest's root.
    "fills the share": f"{_SHARE}; dd if=/dev/zero of=/s/full bs=1M count=64; {_SAY_DONE}",
    "nests directories in the share": (
        f"{_SHARE}; i=0; while [ $i -lt 2500 ]; do mkdir d && cd d || break; i=$((i+1)); done; {_SAY_DONE}"
    ),
    "puts FIFOs into the share": (
        f"{_SHARE}; for each in *; do mv $each .$each; mkfifo $each; done; mkfifo fifo; {_SAY_DONE}"
    ),
    "puts links into the share": (
        f"{_SHARE}; for each in *; do mv $each .$each; ln -s /etc $each; done; ln -s / link; {_SAY_DONE}"
    ),
    "kills all processes": "kill -9 -1; sleep 3600",
    "removes its vsock device": (
        "for device in /sys/bus/pci/devices/*; do [ $(cat $device/device) != 0x1053 ] || echo 1 > $device/remove; done;"
        f"{_SAY_DONE}"
    ),
    "removes all its devices": f"for device in /sys/bus/pci/devices/*; do echo 1 > $device/remove; done; {_SAY_DONE}",
    "panics": _SYSRQ % "c",
    "powers off": _SYSRQ % "o",
    "reboots": _SYSRQ % "b",
}
"""The attacks by name; those that end print `done` and wait."""


def attack(pod: Pod, name: str) -> Container:
    """A container that attacks, running; the pod is one that may do what the guest's root may."""
    return pod.start("sh", "-c", ATTACKS[name], security=PRIVILEGED)
