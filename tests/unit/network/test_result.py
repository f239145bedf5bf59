import pytest

from vmsandbox.errors import Internal
from vmsandbox.network import result
from vmsandbox.protocol.messages import Dns


def test_addresses_are_in_the_order_of_the_result() -> None:
    parsed = result.parse({"ips": [{"address": "fd00::2/64", "interface": 0}, {"address": "10.0.0.2/24"}]})
    assert parsed.addresses == ("fd00::2/64", "10.0.0.2/24")


def test_the_results_before_0_3_0_are_understood() -> None:
    parsed = result.parse({"ip4": {"ip": "10.0.0.2/24", "gateway": "10.0.0.1"}, "ip6": {"ip": "fd00::2/64"}})
    assert parsed.addresses == ("10.0.0.2/24", "fd00::2/64")


def test_the_domain_is_the_first_to_be_searched() -> None:
    dns = {"nameservers": ["10.0.0.1"], "domain": "a.example", "search": ["b.example"], "options": ["ndots:5"]}
    assert result.parse({"dns": dns}).dns == Dns(("10.0.0.1",), ("a.example", "b.example"), ("ndots:5",))


def test_no_result_says_nothing() -> None:
    assert result.parse(None) == result.parse({}) == result.Result()


@pytest.mark.parametrize("broken", [{"ips": [{}]}, {"ips": [{"address": "10.0.0"}]}, {"dns": [1]}, {"ips": 3}])
def test_a_broken_result_is_an_error(broken: object) -> None:
    with pytest.raises(Internal, match="malformed"):
        result.parse(broken)
