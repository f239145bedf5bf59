"""Disks of the guest, and the file system of its writable layers."""

from collections.abc import Callable

from vmsandbox.cri.metrics.metric import COUNTER, GAUGE, MeasuredContainer, Metric, Values
from vmsandbox.protocol.messages import DiskMeasures, FileSystem


def _by_device(number: Callable[[DiskMeasures], int]) -> Callable[[MeasuredContainer], Values]:
    return lambda container: {(name,): number(disk) for name, disk in container.measures.disks.items()}


def _file_system(number: Callable[[FileSystem], int]) -> Callable[[MeasuredContainer], Values]:
    def read(container: MeasuredContainer) -> Values:
        found = container.measures.file_system
        return {} if found is None else {(found.device,): number(found)}

    return read


def _transferred(container: MeasuredContainer) -> Values:
    return {
        (name, str(disk.major), str(disk.minor), operation): count
        for name, disk in container.measures.disks.items()
        for operation, count in (("Read", disk.read_bytes), ("Write", disk.written_bytes))
    }


def _layer(container: MeasuredContainer) -> Values:
    layer, found = container.measures.layer, container.measures.file_system
    return {} if layer is None or found is None else {(found.device,): layer.used}


def _layer_counted_at(container: MeasuredContainer) -> int:
    layer = container.measures.layer
    return 0 if layer is None else layer.at


STORAGE: tuple[Metric[MeasuredContainer], ...] = (
    Metric(
        "container_blkio_device_usage_total",
        "Bytes that the container has read from a disk or written to it.",
        COUNTER,
        _transferred,
        ("device", "major", "minor", "operation"),
    ),
    Metric(
        "container_fs_reads_total",
        "Requests to read from a disk.",
        COUNTER,
        _by_device(lambda disk: disk.reads),
        ("device",),
    ),
    Metric(
        "container_fs_reads_bytes_total",
        "Bytes read from a disk.",
        COUNTER,
        _by_device(lambda disk: disk.read_bytes),
        ("device",),
    ),
    Metric(
        "container_fs_writes_total",
        "Requests to write to a disk.",
        COUNTER,
        _by_device(lambda disk: disk.writes),
        ("device",),
    ),
    Metric(
        "container_fs_writes_bytes_total",
        "Bytes written to a disk.",
        COUNTER,
        _by_device(lambda disk: disk.written_bytes),
        ("device",),
    ),
    Metric(
        "container_fs_usage_bytes",
        "Size of the container's writable layer, counted once a minute at most.",
        GAUGE,
        _layer,
        ("device",),
        _layer_counted_at,
    ),
    Metric(
        "container_fs_limit_bytes",
        "Size of the file system that the writable layers of the pod share.",
        GAUGE,
        _file_system(lambda found: found.size),
        ("device",),
    ),
    Metric(
        "container_fs_inodes_total",
        "Inodes of that file system.",
        GAUGE,
        _file_system(lambda found: found.inodes),
        ("device",),
    ),
    Metric(
        "container_fs_inodes_free",
        "Inodes of that file system that are free.",
        GAUGE,
        _file_system(lambda found: found.inodes_free),
        ("device",),
    ),
)
