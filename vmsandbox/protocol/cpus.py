"""Lists of CPUs as the kernel writes them (cpuset(7), "List format"): `0-3,7`."""

MOST = 8192
"""CPUs that a kernel can have at most (CONFIG_NR_CPUS of x86-64)."""


def parse_cpus(text: str) -> frozenset[int]:
    """Return the numbers in a list; an empty text is an empty list.

    Raises:
        ValueError: the text is not such a list, or names a CPU beyond the `MOST`.
    """
    found: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        first, dash, last = part.partition("-")
        numbers = range(int(first), int(last if dash else first) + 1)
        if not numbers or not 0 <= numbers[0] <= numbers[-1] < MOST:
            raise ValueError(f"{part!r} is not a range of CPUs")
        found.update(numbers)
    return frozenset(found)


def format_cpus(cpus: frozenset[int]) -> str:
    """Return the list of numbers, each by itself."""
    return ",".join(map(str, sorted(cpus)))
