"""Findings of `check` about the daemon's socket."""

import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from vmsandbox.config import Config
from vmsandbox.node.check.findings import _socket


def said(path: Path) -> tuple[bool, str]:
    finding = _socket(replace(Config(), socket=path))
    return finding.ok, finding.message.removeprefix(f"{path} ")


def test_a_socket_is_free_served_or_in_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s"
    assert said(path) == (True, "is free")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(path))
        listener.listen()
        assert said(path) == (True, f"a daemon serves {path}")
        monkeypatch.setattr("vmsandbox.node.check.findings.answers", lambda _: False)
        monkeypatch.setattr(os, "access", lambda *_: False)  # As root may open it, whatever its mode.
        assert said(path) == (True, "is there, and this user may not open it: a daemon may serve it")
    path.unlink()
    path.write_text("not a socket")
    assert said(path) == (False, "is not a socket")
