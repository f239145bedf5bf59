"""The files of cgroup v2 that a container may set (CRI LinuxContainerResources.unified): what is known of them here.

The guest's kernel decides about the others, and about their values; an error of the agent then says so.
"""

import re
from collections.abc import Mapping

from vmsandbox.errors import InvalidArgument, Unimplemented

_SETTING = re.compile(r"(?!cgroup\.)[a-z]+(\.[A-Za-z0-9_]+)+")
_DEVICE = re.compile(r"^\s*\d+:\d+\b", re.MULTILINE)
"""A line for one block device, by its numbers."""


def check_unified(unified: Mapping[str, str], field: str) -> None:
    """Raise an error for a setting that a container cannot have.

    Args:
        unified: values by the names of files.
        field: where the model has them, for the error.

    Raises:
        InvalidArgument: the name is not that of a setting.
        Unimplemented: it is about CPUs, disks or huge pages of the host.
    """
    for name, value in unified.items():
        if not _SETTING.fullmatch(name):
            raise InvalidArgument(
                f"{name!r} is not a setting of cgroup v2", hint="for example memory.high or pids.max", field=field
            )
        if name.startswith("cpuset."):
            raise Unimplemented(f"{name} names CPUs of the host", hint="set cpuset_cpus instead", field=field)
        if name.startswith("io.") and _DEVICE.search(value):
            raise Unimplemented(
                f"{name} names a device of the host, and the machine has devices of its own",
                hint="scratch_bandwidth and scratch_iops of a profile limit the scratch disk",
                field=field,
            )
        if name.startswith("hugetlb.") and value.strip() not in ("0", "max"):
            raise Unimplemented(f"its machine has no huge pages ({name})", field=field)
