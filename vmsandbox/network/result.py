"""The used part of a CNI ADD result: the pod's addresses in their order, and DNS (CNI spec 1.1, section 5)."""

import json
from dataclasses import dataclass, field
from ipaddress import ip_interface

from vmsandbox.errors import Internal
from vmsandbox.protocol.codec import JSON
from vmsandbox.protocol.messages import Dns


@dataclass(frozen=True, slots=True)
class Result:
    """The result of the last plugin of a list."""

    addresses: tuple[str, ...] = ()
    """With their prefix length; the first is the pod's first address."""
    dns: Dns = field(default_factory=Dns)


def parse(result: JSON) -> Result:
    """Read a result of any version from 0.1.0 to 1.1.0; those before 0.3.0 have `ip4` and `ip6` for `ips`.

    Raises:
        Internal: a plugin broke the format.
    """
    if result is None:
        return Result()
    try:
        return Result(_addresses(result), _dns(result.get("dns") or {}))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        shown = json.dumps(result, indent=1)[:2000]
        raise Internal(f"the CNI result is malformed: {error!r}", evidence={"result": shown}) from None


def _addresses(result: JSON) -> tuple[str, ...]:
    old = [result[key]["ip"] for key in ("ip4", "ip6") if result.get(key)]
    return tuple(str(ip_interface(text)) for text in [*(ip["address"] for ip in result.get("ips") or ()), *old])


def _dns(dns: JSON) -> Dns:
    searches = _texts(dns, "search")
    domain = dns.get("domain")
    if domain and domain not in searches:
        searches = (str(domain), *searches)
    return Dns(_texts(dns, "nameservers"), searches, _texts(dns, "options"))


def _texts(dns: JSON, key: str) -> tuple[str, ...]:
    return tuple(str(text) for text in dns.get(key) or ())
