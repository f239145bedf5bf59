"""The place of a machine's cgroup: where it is below the one that its pod is given. Names alone; nothing is made here.

CRI LinuxPodSandboxConfig.cgroup_parent has two forms, by the kubelet's `cgroupDriver`. With `cgroupfs` it is the path
of a cgroup (`/kubepods/burstable/podUID`); it may lack the first slash. With `systemd` it is the name of a slice
(`kubepods-burstable-podUID.slice`), or the path of one, of which the name counts, as for containerd and CRI-O.
"""

from dataclasses import dataclass

from vmsandbox.errors import InvalidArgument

PREFIX = "vmsandbox-"
"""The beginning of the names of cgroups that are ours below others'."""
_SLICE = ".slice"
_LONGEST_NAME = 255
_LONGEST_PATH = 2048
"""Characters that leave room, below PATH_MAX, for where cgroups are mounted and for the names of their files."""


@dataclass(frozen=True, slots=True)
class Place:
    """A machine's cgroup, by paths in each hierarchy without a slash at the beginning."""

    parent: str
    """The cgroup below which it is; may be missing."""
    name: str
    slice: str = ""
    """The unit of systemd that `parent` belongs to; empty: none, or systemd does not run here."""

    @property
    def scope(self) -> str:
        """The unit that systemd makes for the machine, below the slice; its cgroup has the unit's name."""
        return f"{self.name}.scope"

    @property
    def path(self) -> str:
        """The cgroup. Below a scope it is one level deeper: systemd delegates what is below a unit, not the unit."""
        return f"{self.parent}/{self.scope}/machine" if self.slice else f"{self.parent}/{self.name}"


def place_of(cgroup_parent: str, sandbox_id: str, *, systemd: bool) -> Place | None:
    """Return the place for a sandbox; None where the pod is given none.

    Args:
        cgroup_parent: CRI LinuxPodSandboxConfig.cgroup_parent; empty or `/`: the pod has no cgroup of its own.
        sandbox_id: names the cgroup, so that it is found wherever it is.
        systemd: whether systemd runs here, to which slices belong.

    Raises:
        InvalidArgument: it is not the path of a cgroup, or not the name of a slice.
    """
    components = [component for component in cgroup_parent.split("/") if component]
    if not components:
        return None
    _check(cgroup_parent, components)
    name = f"{PREFIX}{sandbox_id}"
    if not components[-1].endswith(_SLICE):
        return Place("/".join(components), name)
    if components[-1] == f"-{_SLICE}":
        return None
    return Place(expand_slice(components[-1]), name, components[-1] if systemd else "")


def expand_slice(unit: str) -> str:
    """The path of a slice's cgroup: `a-b.slice` is below `a.slice` (systemd.slice(5)). Raises InvalidArgument."""
    parts = unit.removesuffix(_SLICE).split("-")
    if not all(parts):
        raise InvalidArgument(f"cgroup_parent {unit!r} is not the name of a slice: a part between its dashes is empty")
    return "/".join(f"{'-'.join(parts[: depth + 1])}{_SLICE}" for depth in range(len(parts)))


def _check(cgroup_parent: str, components: list[str]) -> None:
    if len(cgroup_parent) > _LONGEST_PATH or any(len(component) > _LONGEST_NAME for component in components):
        raise InvalidArgument(f"cgroup_parent {cgroup_parent[:80]!r}… is too long for the path of a cgroup")
    if {".", ".."} & set(components) or not cgroup_parent.isprintable():
        raise InvalidArgument(
            f"cgroup_parent {cgroup_parent!r} is not the path of a cgroup",
            hint="it has neither '.' nor '..' as a component, and printable characters only",
        )
