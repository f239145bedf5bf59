"""The uncompressed kernel out of a bzImage, with the PVH entry point by which QEMU starts it directly.

The layout of a bzImage is that of "The Linux/x86 Boot Protocol" (Documentation/arch/x86/boot.rst); the note is that of
xen/include/public/elfnote.h, as QEMU's hw/i386/x86.c reads it.
"""

import gzip
import lzma
import struct
from collections.abc import Iterator

from vmsandbox import process
from vmsandbox.errors import FailedPrecondition

_PHYS32_ENTRY = 18
_PT_NOTE = 4
_PROTOCOL_WITH_PAYLOAD = 0x0208


async def extract_vmlinux(bzimage: bytes) -> bytes:
    """The ELF image inside a bzImage.

    Raises:
        FailedPrecondition: it is not a bzImage, is compressed in an unknown way, or has no PVH entry point.
    """
    vmlinux = await _decompress(compressed_payload(bzimage))
    if not has_pvh_entry(vmlinux):
        raise FailedPrecondition("the kernel has no PVH entry point (CONFIG_PVH)")
    return vmlinux


def compressed_payload(bzimage: bytes) -> bytes:
    """The compressed kernel, without the size that is appended to it. Raises FailedPrecondition."""
    if len(bzimage) < 0x250 or bzimage[0x202:0x206] != b"HdrS":
        raise FailedPrecondition("the kernel is not a bzImage")
    (protocol,) = struct.unpack_from("<H", bzimage, 0x206)
    if protocol < _PROTOCOL_WITH_PAYLOAD:
        raise FailedPrecondition(f"the kernel's boot protocol {protocol:#x} does not say where its payload is")
    offset, length = struct.unpack_from("<II", bzimage, 0x248)
    start = (bzimage[0x1F1] + 1) * 512 + offset
    return bzimage[start : start + length - 4]


async def _decompress(payload: bytes) -> bytes:
    if payload.startswith(b"\x1f\x8b"):
        return gzip.decompress(payload)
    if payload.startswith(b"\xfd7zXZ\0"):
        return lzma.decompress(payload)
    if payload.startswith(b"\x28\xb5\x2f\xfd"):
        return (await process.run(["zstd", "-dcq"], stdin=payload)).stdout
    raise FailedPrecondition(f"the kernel is compressed in an unknown way (magic {payload[:6].hex()})")


def has_pvh_entry(elf: bytes) -> bool:
    """Whether one of the ELF image's notes gives a 32-bit PVH entry point."""
    return elf.startswith(b"\x7fELF\x02\x01") and any(
        name == b"Xen\0" and kind == _PHYS32_ENTRY for name, kind in _notes(elf)
    )


def _notes(elf: bytes) -> Iterator[tuple[bytes, int]]:
    (table,) = struct.unpack_from("<Q", elf, 0x20)
    entry_size, count = struct.unpack_from("<HH", elf, 0x36)
    for index in range(count):
        kind, _, offset, _, _, size = struct.unpack_from("<IIQQQQ", elf, table + index * entry_size)
        if kind == _PT_NOTE:
            yield from _notes_of(elf[offset : offset + size])


def _notes_of(segment: bytes) -> Iterator[tuple[bytes, int]]:
    at = 0
    while at + 12 <= len(segment):
        name_size, content_size, kind = struct.unpack_from("<III", segment, at)
        yield segment[at + 12 : at + 12 + name_size], kind
        at += 12 + _aligned(name_size) + _aligned(content_size)


def _aligned(size: int) -> int:
    return (size + 3) & ~3
