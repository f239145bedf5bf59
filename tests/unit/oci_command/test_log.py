"""Errors of the command where nobody can read standard error."""

import json
import subprocess
import sys
from pathlib import Path

from tests.unit.oci_command.caller import PROGRAM
from vmsandbox.oci_command.cgroups import resolved


def test_an_error_is_in_the_log_and_the_status_is_its_own_where_standard_error_cannot_be_written(
    tmp_path: Path,
) -> None:
    log = tmp_path / "log"
    options = ("--log", str(log), "--log-format=json", "--root", str(tmp_path))
    with open("/dev/null", "rb") as null:  # as containerd's shim gives it to the command that makes a sandbox
        line = [sys.executable, "-ISc", PROGRAM, *options, "state", "nothing"]
        done = subprocess.run(line, stdin=null, stdout=null, stderr=null, check=False)
    assert (done.returncode, json.loads(log.read_text())["msg"]) == (1, "container does not exist: nothing")


def test_a_cgroup_that_is_written_for_systemd_is_a_name_like_others_unless_systemd_is_asked_for() -> None:
    found = resolved({"linux": {"cgroupsPath": "a.slice:b:c"}}, "c", systemd=False)
    assert found["linux"]["cgroupsPath"] == "/a.slice:b:c"
