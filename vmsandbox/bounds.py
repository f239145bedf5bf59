"""What no machine can have more of."""

MOST_VCPUS = 240
"""Beyond it x86 machines need an IOMMU with interrupt remapping, which a domain here does not have."""

MOST_MEMORY = 1 << 52
"""Bytes that an x86 processor can address (52 bits of physical addresses)."""
