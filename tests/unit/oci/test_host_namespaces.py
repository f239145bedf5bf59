"""Namespaces of this host."""

import os
from pathlib import Path

import pytest

from vmsandbox.errors import InvalidArgument, NotFound, Unimplemented
from vmsandbox.oci.host_namespaces import joined_namespaces, namespaces_of, read_namespace


def test_a_namespace_is_told_by_its_inode_whatever_the_path() -> None:
    assert read_namespace("/proc/self/ns/net") == namespaces_of(os.getpid())["network"]


def test_a_path_without_a_namespace_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no namespace at"):
        read_namespace(str(tmp_path / "gone"))
    with pytest.raises(InvalidArgument, match="is not a namespace"):
        read_namespace(str(tmp_path))
    assert namespaces_of(2**22 + 1) == {}


def test_the_hosts_own_namespace_is_refused() -> None:
    document = {"linux": {"namespaces": [{"type": "ipc", "path": f"/proc/{os.getpid()}/ns/ipc"}]}}
    with pytest.raises(Unimplemented, match="the host's ipc namespace"):
        joined_namespaces(document)
