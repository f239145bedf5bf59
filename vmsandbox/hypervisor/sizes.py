"""The sizes in which machines have memory, for every hypervisor; in bytes."""

from vmsandbox.errors import InvalidArgument

TCG_CACHE = 256 * 1024 * 1024
"""Bytes of translated code that an emulated machine keeps."""

MEMORY_BLOCK = 2 * 1024 * 1024
"""Bytes in which memory is plugged into a machine that runs."""

_MIB = 1024 * 1024


def target_memory(name: str, asked: int, *, least: int, most: int) -> int:
    """Return the memory to give a machine, as `Hypervisor.resize` says; all in bytes.

    Args:
        name: of the machine.
        asked: the memory that it shall have.
        least: the memory of its boot, below which it does not get.
        most: the memory that it may grow to.

    Raises:
        InvalidArgument: it may not grow that far.
    """
    if asked > most:
        raise InvalidArgument(
            f"machine {name} cannot have {asked / _MIB:g} MiB of memory: it was started for at most {most / _MIB:g} MiB"
        )
    return least + -(-max(asked - least, 0) // MEMORY_BLOCK) * MEMORY_BLOCK
