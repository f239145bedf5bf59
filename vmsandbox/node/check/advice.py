"""The advice of `vmsandbox check` for hosts whose pods do not trust each other.

The list follows Firecracker's "Production Host Setup Recommendations"; docs/security.md says what each point is about.
Nothing here keeps pods from running, so that every finding is one that is well (`Finding.ok`).
"""

from dataclasses import dataclass
from pathlib import Path

from vmsandbox.model import Finding
from vmsandbox.node.check.versions import look_at_versions

_VULNERABILITIES = "sys/devices/system/cpu/vulnerabilities"


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting of the kernel that a file shows."""

    path: str
    """From the root directory; a host without it does not have what is set."""
    bad: tuple[str, ...]
    """Contents of the file with which the host could do better."""
    message: str
    """The message for this content."""
    otherwise: str
    """The message for any other content."""
    hint: str


SETTINGS = (
    Setting(
        "sys/devices/system/cpu/smt/active", ("1",),
        "SMT is on: machines on two hyper-threads of one core may learn each other's secrets", "SMT is off",
        "boot with nosmt=force where pods do not trust each other",
    ),
    Setting(
        "sys/kernel/mm/ksm/run", ("1",),
        "KSM merges equal pages: a pod can find out what others have in memory", "KSM is off",
        "echo 2 >/sys/kernel/mm/ksm/run, and disable ksmtuned.service",
    ),
    Setting(
        "proc/sys/kernel/unprivileged_userns_clone", ("1",),
        "every local user may make user namespaces, which opens much of the kernel to attack",
        "local users make no user namespaces",
        "sysctl kernel.unprivileged_userns_clone=0, if no rootless containers or browsers run here",
    ),
    Setting(
        "proc/sys/kernel/dmesg_restrict", ("0",),
        "every local user reads the kernel's log", "root alone reads the kernel's log",
        "sysctl kernel.dmesg_restrict=1",
    ),
    Setting(
        "proc/sys/kernel/kptr_restrict", ("0",),
        "local users may learn addresses of the kernel from /proc", "/proc hides addresses of the kernel",
        "sysctl kernel.kptr_restrict=1",
    ),
    Setting(
        "sys/module/kvm_intel/parameters/ept", ("N", "0"),
        "KVM keeps shadow page tables instead of EPT: slower, and more for a guest to attack", "KVM uses EPT",
        "remove ept=0 from /etc/modprobe.d",
    ),
    Setting(
        "sys/module/kvm_amd/parameters/npt", ("N", "0"),
        "KVM keeps shadow page tables instead of NPT: slower, and more for a guest to attack", "KVM uses NPT",
        "remove npt=0 from /etc/modprobe.d",
    ),
    Setting(
        "sys/module/kvm/parameters/ignore_msrs", ("Y", "1"),
        "KVM ignores accesses to registers that it does not know", "KVM refuses registers that it does not know",
        "remove ignore_msrs from /etc/modprobe.d",
    ),
)  # fmt: skip


async def look(root: Path = Path("/")) -> tuple[Finding, ...]:
    """Look at the kernel's settings, the CPU's flaws, swap, and the versions of programs that read hostile input.

    Args:
        root: the host's root directory.
    """
    settings = (_setting(setting, root) for setting in SETTINGS)
    found = (*settings, _swap(root), *_flaws(root), *await look_at_versions())
    return tuple(finding for finding in found if finding is not None)


def _setting(setting: Setting, root: Path) -> Finding | None:
    content = _read(root / setting.path)
    if content is None:
        return None
    if content in setting.bad:
        return Finding(True, setting.message, setting.hint)
    return Finding(True, setting.otherwise)


def _swap(root: Path) -> Finding | None:
    """/proc/swaps has a line of headings, and one for each swap space (proc(5))."""
    content = _read(root / "proc/swaps")
    if content is None:
        return None
    spaces = [line.split()[0] for line in content.splitlines()[1:] if line.strip()]
    if not spaces:
        return Finding(True, "there is no swap")
    return Finding(
        True, f"memory of pods may be written to {', '.join(spaces)}, and stay there", "swapoff -a, or encrypt the swap"
    )


def _flaws(root: Path) -> tuple[Finding, ...]:
    """The flaws of the CPU that the kernel does not mitigate (sysfs-devices-system-cpu, "vulnerabilities")."""
    directory = root / _VULNERABILITIES
    if not directory.is_dir():
        return ()
    states = {path.name: _read(path) or "" for path in sorted(directory.iterdir())}
    open_ones = {name: state for name, state in states.items() if "vulnerable" in state.lower()}
    if not open_ones:
        return (Finding(True, "the kernel mitigates every flaw of the CPU that it knows of"),)
    hint = "update the kernel and the microcode; see mitigations= in the kernel's parameters"
    return tuple(Finding(True, f"the CPU's flaw {name} is open: {state}", hint) for name, state in open_ones.items())


def _read(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None
