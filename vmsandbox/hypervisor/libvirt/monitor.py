"""Commands to the monitor of a QEMU (QMP), for what libvirt has no call. They block, for `Connection.call`."""

import json
from collections.abc import Sequence
from typing import Any

from vmsandbox.errors import FailedPrecondition
from vmsandbox.hypervisor.libvirt.bindings import libvirt, libvirt_qemu


def ask(domain: "libvirt.virDomain", command: str, files: Sequence[int] = (), **arguments: object) -> Any:
    """Return QEMU's answer to a command. May raise libvirt's errors.

    Args:
        domain: that of the QEMU.
        command: its name.
        files: descriptors that QEMU gets with it.
        arguments: with underscores in place of hyphens.

    Raises:
        FailedPrecondition: QEMU refuses.
    """
    named = {name.replace("_", "-"): value for name, value in arguments.items()}
    text = json.dumps({"execute": command, "arguments": named})
    if files:
        said, _ = libvirt_qemu.qemuMonitorCommandWithFiles(domain, text, list(files), 0)
    else:
        said = libvirt_qemu.qemuMonitorCommand(domain, text, 0)
    answer = json.loads(said)
    if (error := answer.get("error")) is not None:
        raise FailedPrecondition(f"QEMU refuses {command} of machine {domain.name()}: {error.get('desc')}")
    return answer["return"]
