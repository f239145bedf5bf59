"""The secrets that a support bundle omits, and the handling of archives of hosts."""

import io
import tarfile
from pathlib import Path

import pytest

from tests.fakes.lab import REACH, FakeHosts, host
from vmsandbox.errors import FailedPrecondition
from vmsandbox.lab import Fleet, Received, collect, write_bundle
from vmsandbox.lab.remote.support import MOST, REDACTED, collected, redacted
from vmsandbox.lab.reports import unpack

SECRET = "hunter2hunter2"


@pytest.mark.parametrize(
    "text",
    [
        f"password: {SECRET}",
        f"PASSWORD={SECRET}",
        f"registry_password = '{SECRET}'",
        f"passphrase: correct horse {SECRET}",
        f'{{"user": "me", "password": "a\\"{SECRET}", "port": 1}}',
        f"client-secret: {SECRET}",
        f"  api_key: {SECRET}",
        f"AWS_SECRET_ACCESS_KEY={SECRET}",
        f'"auth": "{SECRET}"',
        f'\\"identitytoken\\": \\"{SECRET}\\"',
        f"Authorization: Bearer {SECRET}",
        f"sent Bearer {SECRET} to it",
        f"Cookie: session={SECRET}",
        f"skopeo copy --src-creds me:{SECRET}",
        f"skopeo copy --creds me:{SECRET} docker://x",
        f"login --password {SECRET}",
        f"https://me:{SECRET}@registry.example/v2/",
        f"https://{SECRET}@registry.example/v2/",
        f"-----BEGIN OPENSSH PRIVATE KEY-----\n{SECRET}\n-----END OPENSSH PRIVATE KEY-----",
        f"-----BEGIN PRIVATE KEY-----\n{SECRET}",
        f"password: |\n  {SECRET}\n\n  {SECRET}\nuser: me",
        f"  - token: >-\n      {SECRET}\n    user: me",
        f"eyJhbGciOiJIUzI1NiJ9.{SECRET}.{SECRET}",
    ],
)
def test_what_looks_like_a_secret_goes(text: str) -> None:
    around = f"before: kept\n{text}\n"
    left = redacted(around)
    assert SECRET not in left and REDACTED in left
    assert left.startswith("before: kept\n")
    assert redacted(left) == left


@pytest.mark.parametrize(
    "text",
    [
        "memory: 256Mi\nsocket: /run/vmsandbox/vmsandbox.sock\n",
        "the password was refused\n",
        "Nov 28 12:00:00 host vmsandbox[12]: pod web is ready\n",
        "docker://registry.example/app:1.0@sha256:0123456789abcdef\n",
        "tls_key: /etc/vmsandbox/key.pem\n",
        "keyboard: de\nauthor: me\n",
    ],
)
def test_a_text_without_secrets_stays_as_it_is(text: str) -> None:
    assert redacted(text) == text


def test_a_block_ends_where_its_indentation_does() -> None:
    assert redacted(f"a:\n  token: |\n    {SECRET}\n  user: me\n") == f"a:\n  token: | {REDACTED}\n  user: me\n"


def test_only_what_is_listed_is_read(tmp_path: Path) -> None:
    root, lab = tmp_path / "root", tmp_path / "lab"
    for path, text in {
        "etc/vmsandbox/config.yaml": f"machine: {{vcpus: 2}}\npassword: {SECRET}\n",
        "var/cache/vmsandbox/log/apt.log": f"https://u:{SECRET}@mirror.example\n" + "x" * MOST,
        "run/vmsandbox/run/0/libvirt/run/qemu/vmsandbox-abc.xml": f"<domain>{SECRET}</domain>",
        "root/.docker/config.json": f'{{"auths": {{"r": {{"auth": "{SECRET}"}}}}}}',
    }.items():
        (root / path).parent.mkdir(parents=True)
        (root / path).write_text(text)
    (lab / "current/.venv/bin").mkdir(parents=True)
    program = lab / "current/.venv/bin/vmsandbox"
    program.write_text(f"#!/bin/sh\necho said $*; echo token={SECRET}\n")
    program.chmod(0o755)
    files = {name: redacted(text) for name, text in collected(lab, root)}
    assert list(files)[:4] == ["versions.txt", "config.yaml", "check.txt", "pods.txt"]
    assert files["config.yaml"] == f"machine: {{vcpus: 2}}\npassword: {REDACTED}\n"
    assert "said --log-level warning check --output json" in files["check.txt"]
    assert files["domains.txt"].endswith("of libvirts of vmsandbox's own:\nvmsandbox-abc\n")
    assert len(files["setup-apt.log"]) == MOST
    assert not [name for name, text in files.items() if SECRET in text]


def test_a_bundle_comes_from_each_host_and_is_its_owners_alone(tmp_path: Path) -> None:
    fleet = Fleet(REACH, FakeHosts().dial, lambda *_: None)
    (outcome,) = fleet.on([host("alpha", tmp_path / "lab")], collect)
    assert outcome.value is not None, outcome.error
    write_bundle(tmp_path / "b.tar.gz", {"alpha": outcome.value, "beta": (Received("error.txt", b"gone"),)})
    assert (tmp_path / "b.tar.gz").stat().st_mode & 0o777 == 0o600
    with tarfile.open(tmp_path / "b.tar.gz") as tar:
        names = tar.getnames()
        assert {"b/alpha/versions.txt", "b/alpha/journal.txt", "b/alpha/domains.txt", "b/beta/error.txt"} <= set(names)


def test_nothing_but_plain_files_is_taken_from_an_archive() -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name in ("report.xml", "./junit.xml", "../up", "/etc/passwd", "a/b", "..", "new\nline"):
            member = tarfile.TarInfo(name)
            member.size = 2
            tar.addfile(member, io.BytesIO(b"ok"))
        for name, kind in (("link", tarfile.SYMTYPE), ("hard", tarfile.LNKTYPE), ("fifo", tarfile.FIFOTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "report.xml"
            tar.addfile(member)
    assert [each.name for each in unpack(content.getvalue())] == ["report.xml", "junit.xml"]
    with pytest.raises(FailedPrecondition, match="cannot be read"):
        unpack(b"no archive" * 100)
