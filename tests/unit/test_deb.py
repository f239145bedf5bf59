"""The Debian package as far as it can be seen without building it; tests/package builds and installs it."""

import email.utils
import re
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
SCRIPTS = ("postinst", "prerm", "postrm")


@pytest.fixture
def printed() -> dict[str, str]:
    """The texts that packaging/deb.py writes, from a process of its own: it is a script beside its modules."""
    code = "import deb; print(deb.depends(), deb.changelog('1.2.3+deb12'), deb.copyright_file(), sep='\\n@@\\n')"
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, 'packaging'); {code}"]
    output = subprocess.run(command, cwd=CHECKOUT, check=True, stdout=subprocess.PIPE, text=True).stdout
    return dict(zip(("depends", "changelog", "copyright"), output.split("\n@@\n"), strict=True))


def test_the_package_depends_on_what_machines_need_and_on_nothing_of_the_tests(printed: dict[str, str]) -> None:
    names = printed["depends"].split(", ")
    assert {"libvirt-daemon-system", "qemu-system-x86", "skopeo", "containernetworking-plugins"} <= set(names)
    assert f"python3 (<< 3.{sys.version_info.minor + 1})" in names
    assert not {"gcc", "containerd", "docker-registry", "mmdebstrap", "mandoc"} & set(names)


def test_dpkg_reads_the_changelog(printed: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "changelog").write_text(printed["changelog"])
    command = ["dpkg-parsechangelog", "--file", tmp_path / "changelog"]
    parsed = subprocess.run(command, check=True, capture_output=True, text=True)
    fields = dict(re.findall(r"^(\w+): (.*)$", parsed.stdout, re.MULTILINE))
    assert (parsed.stderr, fields["Source"], fields["Version"]) == ("", "vmsandbox", "1.2.3+deb12")
    assert email.utils.parsedate_to_datetime(fields["Date"])
    assert "Every PodSandbox is a virtual machine of its own" in " ".join(printed["changelog"].split())


def test_the_licence_of_each_package_in_it_is_named(printed: dict[str, str]) -> None:
    text = printed["copyright"]
    for name in ("grpcio", "paramiko", "protobuf", "libvirt-python"):
        assert re.search(rf"^License: \S+-of-{name}\n \S", text, re.MULTILINE)
    for stanza in text.strip().split("\n\n")[1:]:
        assert re.findall(r"^(\w+):", stanza, re.MULTILINE) == ["Files", "Copyright", "License"], stanza


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_maintainer_script_is_sound(name: str) -> None:
    script = CHECKOUT / "packaging/debian" / name
    assert "set -e" in script.read_text() and "#DEBHELPER#" in script.read_text()
    subprocess.run(["sh", "-n", script], check=True)
