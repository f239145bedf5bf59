import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmsandbox.pod.api.container import RestartPolicy
from vmsandbox.pod.plan.variables import expand, unknown_names
from vmsandbox.pod.run.resolv_conf import host_dns, parse_resolv_conf
from vmsandbox.pod.run.restarts import Backoff, BackoffSettings, restarts
from vmsandbox.protocol.messages import Dns


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$(A)", "a"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$a"),
        ("$(B)", "$(B)"),
        ("$(A", "$(A"),
        ("$A", "$A"),
        ("$", "$"),
        ("$$", "$"),
        ("$((A))", "$((A))"),
        ("$()", "$()"),
        ("$(A)$(A)-$(N)", "aa-$(A)"),
        ("$(uname -r)", "$(uname -r)"),
    ],
)
def test_references_are_expanded_as_kubernetes_does(text, expanded):
    assert expand(text, {"A": "a", "N": "$(A)"}) == expanded


def reference(text: str, values: dict[str, str]) -> str:
    """The algorithm as Kubernetes describes it, character by character."""
    out, i = [], 0
    while i < len(text):
        rest = text[i + 1 :]
        if text[i] != "$" or not rest:
            out.append(text[i])
            i += 1
        elif rest[0] == "$":
            out.append("$")
            i += 2
        elif rest[0] == "(" and ")" in rest:
            name = rest[1 : rest.index(")")]
            out.append(values.get(name, f"$({name})"))
            i += len(name) + 3
        else:
            out.append("$" + rest[0])
            i += 2
    return "".join(out)


@given(st.text(alphabet="$()AB \n", max_size=30))
def test_any_text_expands_as_described(text):
    values = {"A": "1", "B": "$(A)"}
    assert expand(text, values) == reference(text, values)


@given(st.text(alphabet=string.ascii_letters + " ()", max_size=30))
def test_text_without_a_dollar_stays(text):
    assert expand(text, {"A": "1"}) == text


def test_unknown_names_are_found():
    assert unknown_names("$(A) $$(B) $(C)", {"A": ""}) == ("C",)


def test_the_first_restart_is_at_once_and_then_the_delay_doubles_up_to_the_most():
    backoff = Backoff(BackoffSettings())
    assert [backoff.delay(1) for _ in range(8)] == [0, 10, 20, 40, 80, 160, 300, 300]


def test_a_container_that_ran_long_has_recovered():
    backoff = Backoff(BackoffSettings())
    delays = [backoff.delay(ran) for ran in (1, 1, 1, 600, 1)]
    assert delays == [0, 10, 20, 0, 10]


@pytest.mark.parametrize(
    ("policy", "code", "again"),
    [("Always", 0, True), ("Always", 1, True), ("OnFailure", 0, False), ("OnFailure", 1, True), ("Never", 1, False)],
)
def test_restart_policies(policy, code, again):
    assert restarts(RestartPolicy(policy), code) is again


def test_resolv_conf_is_read_as_the_resolver_reads_it():
    text = "# c\nnameserver 10.0.0.1 # first\nnameserver fd00::1\nsearch a b\ndomain c\noptions ndots:2 edns0\nbad\n;x"
    assert parse_resolv_conf(text) == Dns(("10.0.0.1", "fd00::1"), ("c",), ("ndots:2", "edns0"))


def test_the_hosts_own_name_server_is_replaced_by_its_upstream(tmp_path):
    stub, upstream = tmp_path / "stub", tmp_path / "upstream"
    stub.write_text("nameserver 127.0.0.53\nsearch home\n")
    upstream.write_text("nameserver 192.0.2.1\n")
    assert host_dns(stub, upstream) == Dns(("192.0.2.1",))
    assert host_dns(stub, tmp_path / "none") == Dns((), ("home",))
    assert host_dns(tmp_path / "none", upstream) == Dns()
