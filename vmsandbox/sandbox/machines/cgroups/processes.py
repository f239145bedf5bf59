"""The processes of a machine: found whoever started them, and told to the kernel's search for a process to kill."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from vmsandbox.claims import MachineUsers
from vmsandbox.hypervisor import SharedDirectory
from vmsandbox.process import Account, ProcessIdentity, name_of, processes_and_users
from vmsandbox.sandbox.machines.cgroups.scores import DEFAULT


def processes_of(users: MachineUsers, share: SharedDirectory | None) -> Iterator[int]:
    """A machine's processes. What they say of themselves is not looked at, except virtiofsd, which is root's."""
    own = {users.qemu.uid, users.vsock.uid}
    for pid, user in processes_and_users():
        with contextlib.suppress(OSError):  # it has ended
            if user in own or (user == 0 and share is not None and _serves(pid, share.directory)):
                yield pid


def vcpu_threads(account: Account) -> list[int]:
    """The threads that run a guest's CPUs, by the names that QEMU gives them: libvirt has it do so (`debug-threads`).

    Args:
        account: QEMU's user, the user of no other machine.
    """
    found: list[int] = []
    for pid, user in processes_and_users():
        if user == account.uid:
            with contextlib.suppress(OSError):  # it has ended
                found += [
                    int(name.parent.name) for name in Path(f"/proc/{pid}/task").glob("*/comm") if _runs_cpus(name)
                ]
    return sorted(found)


def set_score(pids: Iterable[int], score: int) -> None:
    """Have the kernel kill processes in the order of their scores (proc(5), oom_score_adj); children inherit it.

    A daemon that may not protect processes (CAP_SYS_RESOURCE) gives them 0 where the score is less.

    Raises:
        OSError: this host does not allow that they are killed first.
    """
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            try:
                Path(f"/proc/{pid}/oom_score_adj").write_text(str(score))
            except PermissionError:
                if score >= 0:
                    raise
                Path(f"/proc/{pid}/oom_score_adj").write_text("0")


def file_servers(served: Path) -> list[ProcessIdentity]:
    """Return the processes of the virtiofsd of a directory: the one that serves, and the one that waits for it."""
    found: list[ProcessIdentity] = []
    for pid, user in processes_and_users():
        with contextlib.suppress(OSError):  # it has ended
            if user == 0 and _serves(pid, served) and (server := ProcessIdentity.of(pid)):
                found.append(server)
    return found


def end_file_server(served: Path) -> None:
    """Kill the virtiofsd of a directory, whose machine has ended: one that no QEMU has ever reached waits for ever."""
    for server in file_servers(served):
        server.kill()


def let_kill_first(users: MachineUsers) -> None:
    """Have the kernel kill a machine without a cgroup before the node's own services, if this host allows it."""
    with contextlib.suppress(OSError):
        set_score(processes_of(users, None), DEFAULT)


def _runs_cpus(name: Path) -> bool:
    """`CPU 0/KVM`, `CPU 0/TCG`, or `ALL CPUs/TCG` for one thread that emulates all of them."""
    return name.read_text().strip().endswith(("/KVM", "/TCG"))


def _serves(pid: int, share: Path) -> bool:
    """Whether a process is the virtiofsd of a directory: `-o source=DIRECTORY`, or of newer libvirts `--shared-dir`."""
    if not name_of(pid).startswith("virtiofsd"):
        return False
    arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return not {os.fsencode(share), os.fsencode(f"source={share}")}.isdisjoint(arguments)
