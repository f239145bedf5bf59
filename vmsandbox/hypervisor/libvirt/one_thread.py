"""A QEMU that emulates all vCPUs of a machine in one thread.

QEMU before 8.1 emulates each vCPU in a thread of its own and has a race between them: a guest's kernel that patches its
own code runs into its own breakpoint ("Oops: int3") and panics. In one thread there is nobody to race with. Libvirt has
no setting for it, so it starts a script instead, which changes QEMU's option.
"""

import shlex
from pathlib import Path

from vmsandbox import fs
from vmsandbox.fs.durable import replace_whole
from vmsandbox.hypervisor.specification import Accelerator

ONE_THREAD = "qemu-one-thread"
"""The name of the script."""

_RACE_MENDED = 8_001_000
"""The first QEMU (8.1) whose emulated vCPUs see each other's changes to code in order, as libvirt writes versions."""

_SCRIPT = """\
#!/bin/sh
# Written by vmsandbox, for libvirt: QEMU with all emulated vCPUs in one thread.
for argument do
    shift
    case $argument in tcg | tcg,*) argument=$argument,thread=single ;; esac
    set -- "$@" "$argument"
done
exec {program} "$@"
"""


def races(accelerator: Accelerator, qemu: int) -> bool:
    """Whether several vCPUs in threads of their own crash a guest now and then.

    Args:
        accelerator: how the machine runs.
        qemu: QEMU's version, major * 1,000,000 + minor * 1,000 + release (virConnectGetVersion).
    """
    return accelerator is Accelerator.TCG and qemu < _RACE_MENDED


def launcher(program: str, directory: Path) -> Path:
    """The script that becomes `program`, in `directory`, which QEMU's user may enter.

    One that is there stays as it is: libvirt asks a program that has changed for its capabilities, which takes seconds.
    """
    script, text = directory / ONE_THREAD, _SCRIPT.format(program=shlex.quote(program)).encode()
    if not script.exists() or script.read_bytes() != text:
        fs.make_missing(directory, fs.PASSABLE)
        replace_whole(script, text, 0o755)
    return script
