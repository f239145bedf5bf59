"""The part of the configuration that depends on this host is told with file, line and field."""

import json
from pathlib import Path

import pytest

from tests.unit.config.test_settings import SETTINGS
from tests.unit.streaming.server.test_tls import certificate
from vmsandbox.config import ConfigFile, read_file
from vmsandbox.errors import Mistakes, VmsandboxError
from vmsandbox.node.settings import LOOKS, check_host, mistakes_of_host


def file_of(tmp_path: Path, text: str) -> ConfigFile:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    file = read_file(path)
    assert file.mistakes == ()
    return file


async def told(tmp_path: Path, text: str, setting: str) -> list[str]:
    """The mistakes of one setting, from its line on."""
    found = await mistakes_of_host(file_of(tmp_path, text))
    return [str(error).removeprefix(f"{tmp_path}/c.yaml:") for error in found if setting in str(error)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("run_directory: /etc/passwd/x", "1: run_directory: /etc/passwd is not a directory"),
        ("state_directory: /etc/passwd", "1: state_directory: /etc/passwd is not a directory"),
        ("socket: /etc/passwd/cri.sock", "1: socket: /etc/passwd is not a directory"),
        ("\nsocket_group: nobody-has-it", "2: socket_group: the group nobody-has-it does not exist"),
        ("guest_image: /nowhere", "1: guest_image: there is no guest image in /nowhere"),
        ("vhost_device_vsock: /nowhere/v", "1: vhost_device_vsock: /nowhere/v is not a program"),
        ("virtiofsd: /bin/true", "1: virtiofsd: /bin/true is 'true (GNU coreutils)"),
        ("qemu_group: nobody-has-it", "1: qemu_group: the group nobody-has-it does not exist"),
        ("images: {directory: /etc/passwd/images}", "1: images.directory: /etc/passwd is not a directory"),
        ("images: {registries_conf: /nowhere}", "1: images.registries_conf: /nowhere cannot be read: No such file"),
        ("images: {registries_conf: /etc/passwd}", "1: images.registries_conf: /etc/passwd is not TOML: "),
        ("images:\n  policy: /etc/passwd", "2: images.policy: /etc/passwd is not JSON: "),
        ("images: {authfile: /dev/null}", "1: images.authfile: /dev/null cannot be read: it is a device"),
        ("images: {user: nobody-has-it}", "1: images.user: the user nobody-has-it does not exist"),
        ("images: {pinned: [a, UPPER]}", "1: images.pinned: 'UPPER' is not the name of an image"),
        (
            "metrics: {address: '192.0.2.1:9464'}",
            "1: metrics.address: 192.0.2.1:9464 cannot be listened on: Cannot assign",
        ),
        (
            "metrics: {tls: {certificate: /nowhere, key: /x}}",
            "1: metrics.tls.certificate: /nowhere with the key /x cannot",
        ),
        ("traces: {ca: /nowhere}", "1: traces.ca: /nowhere cannot be read: No such file"),
        ("network: {config_directory: /etc/passwd}", "1: network.config_directory: /etc/passwd is not a directory"),
    ],
)
async def test_a_setting_that_this_host_cannot_fulfil_is_told_at_its_line(tmp_path: Path, text: str, said: str) -> None:
    setting = said.split(": ")[1]
    (found,) = await told(tmp_path, text, f"{setting}:")
    assert found.startswith(said)


async def test_files_and_accounts_that_are_there_are_right(tmp_path: Path) -> None:
    (tmp_path / "policy.json").write_text(json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))
    (tmp_path / "registries.conf").write_text('unqualified-search-registries = ["docker.io"]')
    made = certificate(tmp_path)
    text = f"""
state_directory: {tmp_path}/state
run_directory: {tmp_path}/run
socket_group: root
qemu_group: root
images: {{policy: {tmp_path}/policy.json, registries_conf: {tmp_path}/registries.conf, user: root, pinned: ["a:1"]}}
streaming: {{tls_certificate: {made.tls_certificate}, tls_key: {made.tls_key}}}
network: {{config_directory: {tmp_path}/not-yet-there}}
"""
    of_this_machine = ("guest_image", "vsock", "virtiofsd")  # made by `make setup`, which tests do not need
    found = [str(error) for error in await mistakes_of_host(file_of(tmp_path, text))]
    assert [error for error in found if not any(name in error for name in of_this_machine)] == []


async def test_a_certificate_without_its_key_is_told(tmp_path: Path) -> None:
    made = certificate(tmp_path).tls_certificate
    (tmp_path / "other.key").write_text("")
    text = f"streaming:\n  tls_certificate: {made}\n  tls_key: {tmp_path}/other.key"
    (found,) = await told(tmp_path, text, "streaming")
    assert found.startswith(f"2: streaming.tls_certificate: {made} with the key {tmp_path}/other.key cannot be")
    text = f"streaming:\n  tls_certificate: {made}\n  tls_key: {tmp_path}/none.key"
    (found,) = await told(tmp_path, text, "streaming")
    assert found == f"3: streaming.tls_key: {tmp_path}/none.key cannot be read: No such file or directory"


async def test_a_default_that_this_host_cannot_fulfil_is_told_to_be_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str) -> None:
        raise KeyError(name)

    monkeypatch.setattr("grp.getgrnam", refuse)
    found = [str(error) for error in await mistakes_of_host(file_of(tmp_path, ""))]
    assert "the default of qemu_group: the group kvm does not exist" in found


async def test_the_start_of_the_daemon_has_all_of_them_in_one_error(tmp_path: Path) -> None:
    file = file_of(tmp_path, "socket_group: nobody-has-it\nimages: {user: nobody-has-it}")
    with pytest.raises(VmsandboxError) as raised:
        await check_host(file)
    assert isinstance(raised.value, Mistakes)
    assert "1: socket_group: the group" in str(raised.value)
    assert "2: images.user: the user" in str(raised.value)


def test_looks_are_at_settings() -> None:
    assert LOOKS.keys() <= SETTINGS.keys()
