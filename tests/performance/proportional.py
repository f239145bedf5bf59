"""The proportional share of memory (PSS) of a process, by what its mappings are (proc(5), smaps)."""

from collections.abc import Iterator
from pathlib import Path

MIB = 1 << 20


def pss_by_kind(pid: int) -> dict[str, int]:
    """Return the bytes of each kind: guest memory, the guest's kernel, files, translated code, private."""
    found: dict[str, int] = {}
    for kind, size in _mappings(pid):
        found[kind] = found.get(kind, 0) + size
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
        return "guest memory"
    if mapping.startswith("/") and "vmlinu" in mapping:
        return "guest kernel, a file"
    if mapping.startswith("/"):
        return "files"
    return "translated code" if 200 * MIB < size < 260 * MIB else "private"
