"""The setup of a pod's machine, as far as it can be tested without a machine."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from vmsandbox.protocol.messages import ConfigureGuest, Dns, Interface, Route
from vmsandbox_agent.errors import AgentError
from vmsandbox_agent.setup.configure import set_sysctl, write_names
from vmsandbox_agent.setup.disks import block_device, find_disk, opens
from vmsandbox_agent.setup.mounts import make_nodes, make_shared_memory, read_ahead
from vmsandbox_agent.setup.rtnetlink import parse_network

ROOT = Path(__file__).parents[2]
ETH0 = Interface(
    "eth0",
    "52:54:00:00:00:01",
    1400,
    ("10.1.2.3/24", "fd00::3/64"),
    (
        Route("0.0.0.0/0", "10.1.2.1"),
        Route("::/0", "fd00::1"),
        Route("192.0.2.0/24", "172.16.0.1"),
        Route("10.9.0.0/16"),
    ),
)
ETH1 = Interface("eth1", "52:54:00:00:00:02")

_NETWORK = f"""
set -e
mount -t sysfs sysfs /sys
{sys.executable} -c '
import asyncio
from tests.guest.test_setup import ETH0, ETH1
from vmsandbox_agent.setup.network import configure_interfaces
print("waits", flush=True)
asyncio.run(configure_interfaces((ETH0, ETH1)))
asyncio.run(configure_interfaces((ETH0, ETH1)))
' | (
    read -r line
    ip link add eth0 address {ETH1.mac} type veth peer name other address {ETH0.mac}
    cat
)
printf '['
ip -j addr; printf ,; ip -j route; printf ,; ip -j -6 route
printf ']'
"""


def test_shared_memory_that_is_there_is_given_the_size_of_the_pod_and_keeps_its_files(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("it mounts")
    shared = tmp_path / "shm"
    try:
        make_shared_memory(shared, 1 << 20)
        (shared / "kept").touch()
        make_shared_memory(shared, 1 << 22)
        found = os.statvfs(shared)
        assert (found.f_blocks * found.f_frsize, (shared / "kept").exists()) == (1 << 22, True)
        assert stat.S_IMODE(shared.stat().st_mode) == 0o1777
    finally:
        subprocess.run(["umount", shared], check=True)


def test_interfaces_that_are_plugged_in_get_their_names_addresses_and_routes() -> None:
    command = ["unshare", "--net", "--mount", "sh", "-c", _NETWORK]
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": f"{ROOT}/agent:{ROOT}"}
    done = subprocess.run(command, capture_output=True, check=False, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stderr.decode()
    links, routes4, routes6 = json.loads(done.stdout)
    by_name = {link["ifname"]: link for link in links}
    assert by_name["eth0"]["address"] == ETH0.mac
    assert by_name["eth0"]["mtu"] == 1400
    assert by_name["eth1"]["address"] == ETH1.mac
    assert "UP" in by_name["lo"]["flags"]
    addresses = {(entry["local"], entry["prefixlen"]): entry for entry in by_name["eth0"]["addr_info"]}
    assert {("10.1.2.3", 24), ("fd00::3", 64)} <= addresses.keys()
    assert not addresses["fd00::3", 64].get("tentative")
    assert {(route["dst"], route.get("gateway")) for route in routes4} >= {
        ("default", "10.1.2.1"),
        ("192.0.2.0/24", "172.16.0.1"),
        ("10.9.0.0/16", None),
    }
    assert ("default", "fd00::1") in {(route["dst"], route.get("gateway")) for route in routes6}


@pytest.mark.parametrize("text", ["", "10.0.0", "10.0.0.0/33", "::/129", "10.0.0.0/x", "10.0.0.0/-1", "eth0"])
def test_an_address_that_is_not_a_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a network address|no such prefix"):
        parse_network(text)


def test_a_disk_is_found_by_its_serial(tmp_path: Path) -> None:
    for address, page in (("0:0:0:0", b"\0\x80\0\x04root"), ("0:0:1:0", b"\0\x80\0\x08scratch1"), ("0:0:2:0", None)):
        device = tmp_path / address / "device"
        device.mkdir(parents=True)
        if page is not None:
            (device / "vpd_pg80").write_bytes(page)
    (tmp_path / "0:0:1:0/device/block/sdb").mkdir(parents=True)
    disk = find_disk("scratch1", tmp_path)
    assert disk == tmp_path / "0:0:1:0/device"
    assert block_device(disk) == Path("/dev/sdb")
    assert block_device(tmp_path / "0:0:0:0/device") is None
    assert find_disk("scratch", tmp_path) is None
    assert find_disk("x", tmp_path / "nothing") is None


@pytest.mark.parametrize("name", ["no.such", "../../etc/passwd", "/etc/passwd", "kernel", "kernel/../kernel/hostname"])
def test_a_sysctl_that_does_not_exist_is_refused(name: str) -> None:
    with pytest.raises(AgentError, match="the guest has no sysctl"):
        set_sysctl(name, "1")


def test_the_pods_names_are_written(tmp_path: Path) -> None:
    dns = Dns(("10.0.0.10", "fd00::a"), ("a.svc", "svc"), ("ndots:5", "edns0"))
    write_names(tmp_path, ConfigureGuest("web-0", 0, (ETH0, ETH1), dns))
    assert (tmp_path / "hostname").read_text() == "web-0\n"
    assert (tmp_path / "resolv.conf").read_text() == (
        "nameserver 10.0.0.10\nnameserver fd00::a\nsearch a.svc svc\noptions ndots:5 edns0\n"
    )
    assert (tmp_path / "hosts").read_text() == (
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n10.1.2.3\tweb-0\nfd00::3\tweb-0\n"
    )


def test_the_name_of_a_pod_without_a_network_is_localhosts(tmp_path: Path) -> None:
    write_names(tmp_path, ConfigureGuest("web-0", 0))
    assert (tmp_path / "hosts").read_text().splitlines()[2:] == ["127.0.0.1\tweb-0"]


def test_importing_the_agent_changes_nothing_and_needs_only_the_standard_library() -> None:
    program = (
        "import sys; sys.path[:0] = sys.argv[1:]; import ssl, vmsandbox_agent.__main__;"
        "assert sys.modules['ssl'] is ssl;"
        "print([name for name in sys.modules if name.startswith('vmsandbox.') and 'protocol' not in name])"
    )
    command = [sys.executable, "-I", "-S", "-c", program, str(ROOT / "agent"), str(ROOT)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_disk_that_the_kernel_has_not_opened_yet_is_waited_for(tmp_path: Path) -> None:
    early, ready = tmp_path / "early", tmp_path / "ready"
    os.mknod(early, 0o600 | stat.S_IFBLK, os.makedev(4095, 0))  # no driver has this number: ENXIO, as of a new disk
    ready.touch()
    assert [opens(node) for node in (early, ready, tmp_path / "missing")] == [False, True, False]


def test_nodes_of_modules_on_demand_are_made_where_they_are_missing(tmp_path: Path) -> None:
    (tmp_path / "modules.devname").write_text(
        "# Device nodes to trigger on-demand module loading.\ntun net/tun c10:200\nloop loop-control c10:237\n"
    )
    devices = tmp_path / "dev"
    devices.mkdir()
    (devices / "loop3").write_text("the kernel's own")
    for _ in range(2):
        make_nodes(devices, tmp_path)
    tun, loop = (devices / "net/tun").stat(), (devices / "loop7").stat()
    assert (stat.S_IFMT(tun.st_mode), stat.S_IMODE(tun.st_mode), tun.st_rdev) == (
        stat.S_IFCHR, 0o666, os.makedev(10, 200),
    )  # fmt: skip
    assert (stat.S_IFMT(loop.st_mode), stat.S_IMODE(loop.st_mode), loop.st_rdev) == (
        stat.S_IFBLK, 0o600, os.makedev(7, 7),
    )  # fmt: skip
    assert (devices / "loop-control").is_char_device()
    assert (devices / "loop3").read_text() == "the kernel's own"


def test_a_kernel_without_a_list_of_nodes_has_none(tmp_path: Path) -> None:
    make_nodes(tmp_path / "none", tmp_path)
    assert not (tmp_path / "none").exists()


def test_a_file_system_that_has_a_device_reads_ahead(tmp_path: Path) -> None:
    number = tmp_path.stat().st_dev
    file = tmp_path / f"{os.major(number)}:{os.minor(number)}" / "read_ahead_kb"
    read_ahead(tmp_path, 1024, tmp_path)
    assert not file.parent.exists()
    file.parent.mkdir()
    file.write_text("128")
    read_ahead(tmp_path, 1024, tmp_path)
    assert file.read_text() == "1024"
