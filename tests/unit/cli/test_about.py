"""version and info: with a daemon, and without one."""

import errno
import json
import re

import yaml

from vmsandbox.version import VERSION


def test_versions_of_the_daemon_and_its_hypervisor(vmsandbox):
    shown = vmsandbox("version")
    assert shown.out == f"Client:  {VERSION}\nDaemon:  {VERSION}\nlibvirt: 9.0.0\nQEMU:    7.2.22\n"
    told = json.loads(vmsandbox("version", "-o", "json").out)
    assert told == {"client": VERSION, "daemon": VERSION, "libvirt": "9.0.0", "qemu": "7.2.22"}


def test_without_a_daemon_the_own_version_is_printed_and_the_rest_is_said_to_be_unknown(vmsandbox, tmp_path):
    (tmp_path / "config.yaml").write_text(f"socket: {tmp_path}/absent.sock\nrun_directory: {tmp_path}/absent\n")
    shown = vmsandbox("version")
    assert (shown.status, shown.out.splitlines()[:2]) == (0, [f"Client:  {VERSION}", "Daemon:  none serves"])
    assert "no daemon serves" in shown.err
    assert json.loads(vmsandbox("info", "-o", "json").out)["daemon"] is None


def test_without_the_right_to_ask_the_daemon_the_own_version_is_printed_before_the_error(vmsandbox, monkeypatch):
    from vmsandbox.cri.client import dialling

    monkeypatch.setattr(dialling.socket.socket, "connect_ex", lambda *_: errno.EACCES)
    for words, known in (("version", f"Client:  {VERSION}"), ("info", f"Client:   vmsandbox {VERSION}")):
        shown = vmsandbox(words)
        assert shown.status == 1 and shown.out.startswith(known)
        assert "error: you may not open" in shown.err and "no daemon serves" not in shown.out + shown.err
    told = vmsandbox("version", "-o", "json")
    assert (told.status, json.loads(told.out)["client"]) == (1, VERSION)


def test_info_counts_pods_containers_and_images_and_tells_how_machines_run(vmsandbox):
    vmsandbox.container(vmsandbox.pod("web"))
    daemon = yaml.safe_load(vmsandbox("info", "-o", "yaml").out)["daemon"]
    assert (daemon["pods"], daemon["containers"]) == ({"READY": 1}, {"RUNNING": 1})
    assert daemon["images"] == {"count": 1, "size": 4096}
    assert daemon["accelerators"] == {"": "kvm", "small": "tcg"}
    text = vmsandbox("info").out
    assert re.search(r"^Machines of small: +tcg \(emulated, slowly\)$", text, re.MULTILINE)
    assert re.search(r"^Network: +ready$", text, re.MULTILINE)


def test_info_tells_why_the_network_is_not_ready(vmsandbox):
    from vmsandbox.errors import FailedPrecondition

    vmsandbox.served.network_errors.append(FailedPrecondition("the bridge plugin is missing"))
    assert "not ready: the bridge plugin is missing" in vmsandbox("info").out
