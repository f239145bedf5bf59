"""Whose the files of a pod's volumes are: root's, as the pod sees it, and of fsGroup, as the kubelet gives them."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from vmsandbox.pod.api.pod import PodSpec
from vmsandbox.pod.plan.container_security import owner


@dataclass(frozen=True, slots=True)
class Owner:
    """The owner of what a pod's volumes hold at first."""

    root: int = 0
    """The id that root of the containers has outside of the pod's user namespace."""
    group: int | None = None
    """fsGroup, as the containers know it."""

    @classmethod
    def of(cls, spec: PodSpec) -> "Owner":
        """The one that a pod asks for."""
        return cls(owner(spec), spec.security_context.fs_group)

    def take(self, path: Path, mode: int, *, writable: bool) -> None:
        """Give a file or a directory to it, and the group the rights it needs; follows no link.

        Args:
            path: what is given.
            mode: its permissions without those of fsGroup.
            writable: whether the containers may write it.
        """
        if self.root or self.group is not None:  # chown first: it takes set-group-id away
            os.chown(path, self.root, self.root + (self.group or 0), follow_symlinks=False)
        if self.group is not None:
            mode |= 0o660 if writable else 0o440
            mode |= stat.S_ISGID | 0o110 if path.is_dir() else 0
        path.chmod(mode)
