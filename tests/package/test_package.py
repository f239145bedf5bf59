"""One life of the Debian package, stage by stage: installed, serving, upgraded beneath a pod, removed, purged.

The root has no systemd running; the tests start what its units would. It is on a network of its own, and in cgroups of
its own, which the package's postrm removes as it would the host's.
"""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.package.life import at_a_terminal, files, libvirtd, own_cgroups, processes, service
from tests.support.root import Root, fresh_root
from vmsandbox.cli.table import TABLE
from vmsandbox.guestimage.mirrors import host_codename
from vmsandbox.version import VERSION

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="a root of its own needs root"),
    pytest.mark.timeout(900),
]

CHECKOUT = Path(__file__).parents[2]
IMAGE = "localhost/vmsandbox/hello:latest"
INSTALL = "DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends"


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package that `make deb` has built, a newer one, and an image."""
    directory = tmp_path_factory.mktemp("packages")
    [built] = (CHECKOUT / "dist").glob("vmsandbox_*.deb")
    (directory / "vmsandbox.deb").hardlink_to(built)
    tree = directory / "tree"
    subprocess.run(["dpkg-deb", "--raw-extract", built, tree], check=True)
    control = tree / "DEBIAN/control"
    control.write_text(re.sub(r"^Version: .*$", "Version: 99.0.0", control.read_text(), flags=re.MULTILINE))
    [version] = tree.glob("usr/lib/vmsandbox/lib/python3*/site-packages/vmsandbox/version.py")
    version.write_text(version.read_text().replace(VERSION, "99.0.0"))
    subprocess.run(["dpkg-deb", "-Znone", "--build", tree, directory / "newer.deb"], check=True)
    archive = subprocess.run(CHECKOUT / "examples/hello-image/build.sh", check=True, stdout=-1, text=True)
    assert archive.returncode == 0
    newest = max(Path("/var/cache/vmsandbox/demo").glob("hello-*.tar"), key=lambda path: path.stat().st_mtime)
    (directory / "hello.tar").write_bytes(newest.read_bytes())
    return directory


@pytest.fixture(scope="module")
def cgroups() -> Iterator[list[Path]]:
    with own_cgroups() as cgroups:
        yield cgroups


@pytest.fixture(scope="module")
def root(packages: Path, cgroups: list[Path]) -> Iterator[Root]:
    """A fresh root that has what the package depends on, in cgroups of its own, and whose libvirt runs."""
    with fresh_root(host_codename(), {"/packages": packages}) as root:
        root.run("apt-get", "update", online=True)
        depends = root.run("dpkg-deb", "--field", "/packages/vmsandbox.deb", "Depends").stdout.strip()
        satisfy = "DEBIAN_FRONTEND=noninteractive apt-get satisfy --yes --no-install-recommends"
        root.run("sh", "-c", f"{satisfy} '{depends}'; {INSTALL} procps man-db", online=True)
        root.run("sh", "-c", "chgrp kvm /dev/kvm; chmod 660 /dev/kvm")  # as udev does, by the root's own number of kvm
        for cgroup in cgroups:
            root.run("mount", "--bind", str(cgroup), str(cgroup.parent))
        with libvirtd(root):
            yield root


@pytest.fixture(scope="module")
def before(root: Root) -> dict[str, str]:
    """The files of the root before the package is installed."""
    return files(root)


@pytest.fixture(scope="module")
def installed(root: Root, before: dict[str, str]) -> Root:
    """The root with the package, whose administrator has set one thing, as it befits a busy host without KVM."""
    assert "/usr/bin/vmsandbox" not in before
    root.run("sh", "-c", f"{INSTALL} /packages/vmsandbox.deb")
    (root.path / "etc/vmsandbox").mkdir(exist_ok=True)
    (root.path / "etc/vmsandbox/config.yaml").write_text("machine:\n  boot_deadline: 300\n")
    return root


@pytest.fixture(scope="module")
def services() -> Iterator[ExitStack]:
    """Processes that run in the root: a stage may end them."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="module")
def serving(installed: Root, services: ExitStack) -> Root:
    services.enter_context(service(installed))
    installed.run("vmsandbox", "image", "load", "/packages/hello.tar")
    return installed


@pytest.fixture(scope="module")
def pod(serving: Root) -> str:
    """The boot id of a pod's machine; its directory on the host has a file that is precious."""
    (serving.path / "srv/precious").write_text("kept")
    serving.run(
        "vmsandbox", "run", "-d", "--name", "web", "-v", "/srv:/srv", IMAGE, "sh", "-c", "echo begun; sleep 10000"
    )
    return boot_id(serving)


def boot_id(root: Root) -> str:
    return root.run("vmsandbox", "exec", "web", "cat", "/proc/sys/kernel/random/boot_id").stdout


@pytest.fixture(scope="module")
def upgraded(pod: str, serving: Root, services: ExitStack) -> Root:
    """The way of systemd: the daemon of before goes on until the new files are there, and is started again then."""
    serving.run("sh", "-c", f"{INSTALL} /packages/newer.deb")
    services.close()
    services.enter_context(service(serving))
    return serving


@pytest.fixture(scope="module")
def removed(upgraded: Root, services: ExitStack) -> "subprocess.CompletedProcess[str]":
    services.close()
    return upgraded.run("apt-get", "remove", "--yes", "vmsandbox")


def test_an_installed_package_is_enabled_and_has_what_the_unit_needs(installed: Root) -> None:
    assert installed.run("systemctl", "is-enabled", "vmsandbox", check=False).stdout.strip() == "enabled"
    assert "vmsandbox-images" in installed.run("getent", "passwd", "vmsandbox-images").stdout
    assert (installed.path / "var/lib/vmsandbox").stat().st_mode & 0o777 == 0o711
    verified = installed.run(
        "systemd-analyze", "verify", "--man=no", "/lib/systemd/system/vmsandbox.service", check=False
    )
    assert "vmsandbox.service" not in verified.stderr + verified.stdout
    assert VERSION in installed.run("vmsandbox", "--version").stdout


def test_an_installed_package_brings_the_guest_image_of_its_agent(installed: Root) -> None:
    current = installed.path / "var/cache/vmsandbox/guest-image/current"
    ours = installed.run("vmsandbox", "image", "import-guest", "/usr/share/vmsandbox/guest-image.tar.zst")
    assert ours.stdout.strip().endswith(current.readlink().name)
    assert "its agent is the one of this version" in ours.stderr


def test_man_knows_every_command(installed: Root) -> None:
    for words in filter(lambda words: TABLE[words].help, TABLE):
        page = f"vmsandbox-{words.replace(' ', '-')}"
        assert f"/man1/{page}.1.gz" in installed.run("man", "--where", page).stdout


def test_an_image_runs_at_a_terminal_and_leaves_no_pod(serving: Root) -> None:
    shown = at_a_terminal(serving, f"vmsandbox run -it --rm {IMAGE} sh", "echo $((6*7)) on $(tty); exit\n")
    assert re.search(r"42 on /dev/(pts/\d+|console)", shown), shown
    assert serving.run("vmsandbox", "pods", "-q").stdout == ""


def test_a_pod_is_listed_followed_and_entered(pod: str, serving: Root) -> None:
    assert IMAGE in serving.run("vmsandbox", "ps").stdout
    assert serving.run("vmsandbox", "logs", "web").stdout == "begun\n"
    assert serving.run("vmsandbox", "exec", "web", "cat", "/srv/precious").stdout == "kept"


def test_a_pod_is_stopped_and_removed(serving: Root) -> None:
    serving.run("vmsandbox", "run", "-d", "--name", "short", IMAGE, "sleep", "10000")
    serving.run("vmsandbox", "stop", "--timeout", "0", "short")
    serving.run("vmsandbox", "rm", "short")
    assert "short" not in serving.run("vmsandbox", "pods").stdout


def test_a_pod_survives_the_upgrade_of_the_package(pod: str, upgraded: Root) -> None:
    assert "99.0.0" in upgraded.run("vmsandbox", "--version").stdout
    assert boot_id(upgraded) == pod
    assert upgraded.run("vmsandbox", "logs", "web").stdout == "begun\n"


def test_removing_leaves_pods_and_state_and_says_so(
    removed: "subprocess.CompletedProcess[str]", upgraded: Root
) -> None:
    assert "pods run, and go on without the daemon" in removed.stderr + removed.stdout
    assert not (upgraded.path / "usr/lib/vmsandbox").exists()
    assert (upgraded.path / "var/lib/vmsandbox/serve/state.db").exists()
    assert any("qemu-system" in line for line in processes(upgraded))


def test_purging_ends_machines_and_leaves_nothing(
    removed: "subprocess.CompletedProcess[str]", upgraded: Root, before: dict[str, str], cgroups: list[Path]
) -> None:
    upgraded.run("apt-get", "purge", "--yes", "vmsandbox")
    assert [line for line in processes(upgraded) if "qemu-system" in line or "/vmsandbox" in line] == []
    found = [
        upgraded.run("cut", "-d", " ", "-f", "5", "/proc/self/mountinfo"),
        upgraded.run("ip", "-o", "link"),
        upgraded.run("find", "/run", *(str(cgroup.parent) for cgroup in cgroups), "-name", "vmsandbox*", check=False),
    ]
    left = "".join(ran.stdout for ran in found)
    assert [line for line in left.splitlines() if "vmsandbox" in line] == []
    assert (upgraded.path / "srv/precious").read_text() == "kept"
    (upgraded.path / "srv/precious").unlink()
    after = files(upgraded)
    assert sorted(before.items() ^ after.items()) == []
