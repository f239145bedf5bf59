"""A guest's measures of a container: all parts, with different numbers."""

from vmsandbox.protocol.messages import (
    CpuMeasures,
    DiskMeasures,
    FileSystem,
    LayerMeasures,
    Measures,
    MemoryMeasures,
    Pressure,
    ProcessMeasures,
    Throttling,
)

_SECOND = 1_000_000_000
_WAITS = ("cpu", "memory", "io")


def measures(container_id: str) -> Measures:
    """A container within its limits."""
    return Measures(
        container_id,
        cpu=CpuMeasures(7 * _SECOND, 4 * _SECOND, 3 * _SECOND + 1, Throttling(40, 2, 1 * _SECOND)),
        memory=MemoryMeasures(
            current=4096,
            anon=2048,
            file=1536,
            file_mapped=768,
            inactive_file=1024,
            kernel=512,
            page_faults=70,
            major_page_faults=1,
            limit_hits=9,
            oom_kills=8,
            reservation=256,
            limit=8192,
            swap_limit=128,
            peak=5120,
            swap=64,
        ),
        pressure={
            name: Pressure((11 + 5 * n) * _SECOND, (5 + 5 * n) * _SECOND, (n + 0.5, 2.0, 3.0), (n + 0.25, 1.0, 0.0))
            for n, name in enumerate(_WAITS)
        },
        disks={"/dev/sda": DiskMeasures(8, 0, 31, 32, 33, 34), "/dev/sdb": DiskMeasures(8, 16, 41, 42, 43, 44)},
        huge_pages={"2MB": 2097152},
        processes=ProcessMeasures(2, 5, 1000, 12, 6, 1024),
        file_system=FileSystem(1 << 30, 1 << 29, 65536, 65500, "/dev/sdb"),
        layer=LayerMeasures(1_600_000_000 * _SECOND, 40960, 13),
    )
