"""The scopes that systemd is asked for; a stand-in takes the place of busctl(1)."""

import os
from pathlib import Path

import pytest

from vmsandbox.oci_command import systemd
from vmsandbox.oci_command.errors import CommandError


@pytest.mark.parametrize(
    ("slice_name", "path"),
    [
        ("system.slice", "/system.slice"),
        ("user-1000.slice", "/user.slice/user-1000.slice"),
        ("a-b-c.slice", "/a.slice/a-b.slice/a-b-c.slice"),
        ("-.slice", ""),
    ],
)
def test_a_slice_is_below_those_in_its_name(slice_name: str, path: str) -> None:
    assert systemd.expanded(slice_name) == path


@pytest.mark.parametrize("slice_name", ["system", "a//b.slice", "a--b.slice", "-a.slice"])
def test_what_is_not_a_slice_is_refused(slice_name: str) -> None:
    with pytest.raises(CommandError, match="invalid slice name"):
        systemd.expanded(slice_name)


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("machine.slice:libpod:c1", "/machine.slice/libpod-c1.scope"),
        (":docker:c1", "/system.slice/docker-c1.scope"),
        ("a-b.slice::c1", "/a.slice/a-b.slice/c1.scope"),
        ("", "/system.slice/vmsandbox-c9.scope"),
    ],
)
def test_the_path_of_a_scope_is_its_slices(monkeypatch: pytest.MonkeyPatch, given: str, path: str) -> None:
    monkeypatch.setattr(os.path, "isdir", lambda _: True)
    assert systemd.path_of(given, "c9") == path


def test_a_path_of_another_form_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "isdir", lambda _: True)
    with pytest.raises(CommandError, match='of format "slice:prefix:name"'):
        systemd.path_of("/libpod_parent/c1", "c1")


def test_systemd_is_asked_for_a_delegated_scope(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "busctl").write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/asked\n')
    (tmp_path / "busctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(systemd, "_is_in", lambda _: True)
    systemd.enter_scope("/a.slice/a-b.slice/x-c1.scope")
    asked = (tmp_path / "asked").read_text()
    assert "StartTransientUnit ssa(sv)a(sa(sv)) x-c1.scope replace 4 PIDs au 1" in asked
    assert "Delegate b true Slice s a-b.slice" in asked


def test_a_refusal_of_systemd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "busctl").write_text("#!/bin/sh\necho no such unit >&2\nexit 1\n")
    (tmp_path / "busctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(CommandError, match=r"does not make c1\.scope: no such unit"):
        systemd.enter_scope("/c1.scope")
