"""A pod's network, name, name servers and kernel parameters."""

import socket
import urllib.request
from collections.abc import Iterator

import pytest
from cri_api.v1 import api_pb2 as pb

from tests.standins import images
from tests.support.conformance_client import Container, Cri, Pod, eventually

SYSCTLS = {"kernel.shm_rmid_forced": "1", "fs.mqueue.msg_max": "100", "net.ipv4.ip_unprivileged_port_start": "80"}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def configured(cri: Cri) -> Iterator[Pod]:
    """A pod with everything that can be said of its network."""
    with cri.pod(
        hostname="conformant",
        dns_config={"servers": ["10.10.10.10"], "searches": ["example.org"], "options": ["ndots:8"]},
        port_mappings=[{"container_port": 80, "host_port": free_port()}],
        linux={"sysctls": SYSCTLS},
    ) as pod:
        yield pod


@pytest.fixture(scope="module")
def web_server(configured: Pod) -> Container:
    return configured.start(image=images.NGINX, command=[])


@pytest.fixture(scope="module")
def inside(configured: Pod, web_server: Container) -> Container:
    """A second container of the pod."""
    return configured.start()


def page(address: str) -> str:
    """Return the page of a web server, when it has come up."""

    def fetch() -> str:
        try:
            with urllib.request.urlopen(f"http://{address}", timeout=5) as response:
                return str(response.read().decode())
        except OSError:
            return ""

    return eventually(fetch)


def test_a_pod_is_reached_at_its_address(configured: Pod, web_server: Container) -> None:
    assert "nginx" in page(f"{configured.status().network.ip}:80")


def test_a_pod_is_reached_at_the_port_of_the_node(configured: Pod, web_server: Container) -> None:
    assert "nginx" in page(f"127.0.0.1:{configured.config.port_mappings[0].host_port}")


def test_containers_of_a_pod_reach_each_other_on_localhost(inside: Container) -> None:
    assert "nginx" in inside.output("wget", "-q", "-O", "-", "http://127.0.0.1:80/")


def test_a_pod_has_every_address_that_is_told(configured: Pod, inside: Container) -> None:
    network = configured.status().network
    addresses = inside.output("ip", "addr", "show")
    for ip in (network.ip, *(additional.ip for additional in network.additional_ips)):
        assert ip in addresses


def test_pods_reach_each_other(pod: Pod, configured: Pod, web_server: Container) -> None:
    container = pod.start()
    assert "nginx" in container.output("wget", "-q", "-O", "-", f"http://{configured.status().network.ip}/")
    container.remove()


def test_name_servers_are_those_of_the_pod(inside: Container) -> None:
    lines = inside.output("cat", "/etc/resolv.conf").splitlines()
    assert {"nameserver 10.10.10.10", "search example.org", "options ndots:8"} <= set(lines)


def test_the_hostname_is_the_pods_and_leads_to_it(configured: Pod, inside: Container) -> None:
    assert inside.output("hostname") == "conformant\n"
    assert inside.output("cat", "/etc/hostname") == "conformant\n"
    assert configured.status().network.ip in inside.output("grep", "conformant", "/etc/hosts")


@pytest.mark.parametrize(("name", "value"), SYSCTLS.items())
def test_kernel_parameters_are_those_of_the_pod(inside: Container, name: str, value: str) -> None:
    assert inside.output("cat", f"/proc/sys/{name.replace('.', '/')}").strip() == value


def test_several_containers_each_have_their_log_and_their_commands(pod: Pod) -> None:
    server = pod.start(image=images.HTTPD, command=[])
    client = pod.start("sh", "-c", "echo hello from beside; exec sleep 3600")
    assert "httpd" in page(f"{pod.status().network.ip}:80")
    assert eventually(lambda: "httpd" in server.log_file.read_text())
    assert eventually(lambda: "hello from beside" in client.log_file.read_text())
    assert server.output("echo", "one") + client.output("echo", "two") == "one\ntwo\n"
    client.remove()
    assert server.status().state == pb.CONTAINER_RUNNING
    server.remove()
