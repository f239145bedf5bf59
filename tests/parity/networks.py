"""Rows about the network of a pod."""

from tests.parity.behaviour import Behaviour
from tests.parity.security import ROOT

NETWORKS = (
    Behaviour("the interfaces", "CNI", "", exec="ls /sys/class/net"),
    Behaviour(
        "the interface of the pod",
        "CNI bridge plugin",
        "",
        exec="cd /sys/class/net/eth0; cat mtu operstate type carrier",
    ),
    Behaviour("the loopback's addresses", "CNI loopback plugin", "", exec="ip -o addr show lo | awk '{print $3, $4}'"),
    Behaviour("a connection over IPv6's loopback", "CNI loopback plugin", "", exec="probe loopback"),
    Behaviour("sockets of a user", "raw(7), packet(7)", "", exec="probe kinds | grep -E 'raw|packet|netlink'"),
    Behaviour(
        "a user pings and serves ports below 1024",
        "icmp(7), ping_group_range; ip(7), ip_unprivileged_port_start",
        "",
        exec="probe kinds | grep -E 'ping|443'; cd /proc/sys/net/ipv4; cat ip_unprivileged_port_start ping_group_range",
        differs="allowed, as in the defaults of Docker and of containerd 2; containerd 1.6 keeps the kernel's default",
    ),
    Behaviour("sockets of root", "raw(7), packet(7)", "", exec="probe kinds | grep -v ping", security=ROOT),
    Behaviour(
        "root pings", "CAP_NET_RAW", "", exec="ping -c 1 127.0.0.1 | head -2 | tail -1 | cut -d' ' -f1-6", security=ROOT
    ),
    Behaviour(
        "sysctls of the network namespace",
        "network_namespaces(7)",
        "",
        exec="cd /proc/sys/net/ipv4; grep . ip_local_port_range "
        "tcp_syncookies tcp_keepalive_time tcp_fin_timeout conf/all/rp_filter conf/eth0/accept_redirects "
        "../core/somaxconn ../ipv6/conf/lo/disable_ipv6 ../ipv6/conf/eth0/forwarding",
    ),
    Behaviour(
        "root changes no interface",
        "CAP_NET_ADMIN",
        "",
        exec="ip link set lo down; ip addr add 10.1.1.1/32 dev lo; ip route add default dev lo",
        security=ROOT,
    ),
    Behaviour(
        "a connection to a port of nobody is refused", "connect(2)", "", exec="nc 127.0.0.1 4711 </dev/null; echo $?"
    ),
)
