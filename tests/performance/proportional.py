"""The proportional share of memory (PSS) of a process, by what its mappings are (proc(5), smaps).

Guest memory is not a share: it is all that the memory of a machine has of the host, and QEMU's alone. The memory of a
template is copied into that of a new machine, and QEMU has mapped of it only what its guest has used since.
"""

from collections.abc import Iterator
from pathlib import Path

from vmsandbox.hypervisor.libvirt.saved.holes import memories_of

MIB = 1 << 20
_GUEST = "guest memory"


def pss_by_kind(pid: int) -> dict[str, int]:
    """Return the bytes of each kind: guest memory, the guest's kernel, files, translated code, private."""
    found: dict[str, int] = {}
    for kind, size in _mappings(pid):
        found[kind] = found.get(kind, 0) + size
    found.pop(_GUEST, None)
    if Path(f"/proc/{pid}/comm").read_text().startswith("qemu"):
        found[_GUEST] = sum(memory.stat().st_blocks * 512 for memory in memories_of(pid))
    return found


def _mappings(pid: int) -> Iterator[tuple[str, int]]:
    mapping, size = "", 0
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            mapping = " ".join(words[5:])
            begin, end = (int(edge, 16) for edge in words[0].split("-"))
            size = end - begin
        elif words[0] == "Pss:" and int(words[1]):
            yield _kind(mapping, size), int(words[1]) * 1024


def _kind(mapping: str, size: int) -> str:
    if mapping.startswith("/memfd:"):
        return _GUEST
    if mapping.startswith("/") and "vmlinu" in mapping:
        return "guest kernel, a file"
    if mapping.startswith("/"):
        return "files"
    return "translated code" if 200 * MIB < size < 260 * MIB else "private"
