"""The pod's names: its hostname, its resolv.conf and its /etc/hosts, as the kubelet makes them."""

from vmsandbox.pod.api import DnsPolicy, PodSpec
from vmsandbox.pod.plan.pod_facts import PodFacts
from vmsandbox.protocol.messages import Dns

_LONGEST_NAME = 63
_MOST_SERVERS, _MOST_SEARCHES, _MOST_SEARCH_CHARS = 3, 32, 2048


def hostname(facts: PodFacts) -> str:
    """The pod's hostname."""
    spec = facts.pod.spec
    if spec.hostname_override:
        return spec.hostname_override
    full = fqdn(facts)
    if not spec.set_hostname_as_fqdn or not full:
        return _short(facts)
    return full


def fqdn(facts: PodFacts) -> str:
    """The pod's full name where it has a subdomain, else nothing."""
    subdomain = facts.pod.spec.subdomain
    domain = f"{facts.pod.metadata.namespace}.svc.{facts.settings.cluster_domain}"
    return f"{_short(facts)}.{subdomain}.{domain}" if subdomain else ""


def _short(facts: PodFacts) -> str:
    return facts.pod.spec.hostname or facts.pod.metadata.name[:_LONGEST_NAME].rstrip("-.")


def resolver(spec: PodSpec, host: Dns) -> Dns | None:
    """Return the pod's resolv.conf; None means that of its network.

    There is no cluster whose DNS could come first, so ClusterFirst means the host's, as it does to a kubelet
    without clusterDNS.

    Raises:
        InvalidArgument: dnsPolicy None without a name server; too many servers or search domains.
    """
    config = spec.dns_config
    if spec.dns_policy is DnsPolicy.NONE:
        if not config.nameservers:
            raise spec.at.of("dnsConfig").error("dnsPolicy None needs at least one name server here")
        host = Dns()
    options = {option.name: option.value for option in config.options}
    inherited = tuple(option for option in host.options if option.partition(":")[0] not in options)
    merged = Dns(
        servers=_joined(host.servers, config.nameservers)[:_MOST_SERVERS],
        searches=_joined(host.searches, config.searches),
        options=inherited + tuple(name if value is None else f"{name}:{value}" for name, value in options.items()),
    )
    if len(config.nameservers) > _MOST_SERVERS:
        raise config.at.of("nameservers").error(f"a resolver takes {_MOST_SERVERS} name servers")
    if len(merged.searches) > _MOST_SEARCHES or len(" ".join(merged.searches)) > _MOST_SEARCH_CHARS:
        raise config.at.of("searches").error("there are more search domains than a resolver takes")
    return None if merged == Dns() else merged


def _joined(first: tuple[str, ...], then: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*first, *then)))


def hosts_file(facts: PodFacts) -> str:
    """/etc/hosts of the pod's containers; empty: the one that every pod has is enough.

    The name of a pod without a network is localhost's address, as in podman.
    """
    aliases, full = facts.pod.spec.host_aliases, fqdn(facts)
    if not aliases and not full:
        return ""
    names = [full, _short(facts)] if full else [hostname(facts)]
    lines = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"]
    lines += ["fe00::0\tip6-localnet", "fe00::0\tip6-mcastprefix", "fe00::1\tip6-allnodes", "fe00::2\tip6-allrouters"]
    lines += ["\t".join((ip, *names)) for ip in facts.ips or ("127.0.0.1",)]
    lines += ["\t".join((alias.ip, *alias.hostnames)) for alias in aliases]
    return "\n".join(lines) + "\n"
