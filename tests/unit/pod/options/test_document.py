"""The options of podman run as a Pod: golden files, and what is refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.golden import assert_golden
from tests.support.manifests import SETTINGS
from vmsandbox.errors import InvalidArgument
from vmsandbox.pod.api import manifest_of
from vmsandbox.pod.options import FLAGS, REFUSED, OptionContext, RunOptions, option_of, pod_document
from vmsandbox.pod.options.values import literal
from vmsandbox.pod.plan import plan_pod
from vmsandbox.pod.plan.variables import expand
from vmsandbox.typed_yaml import dump, from_values, read

CONTEXT = OptionContext({"OURS": "handed on"}, "/home/me", "x7k2p4")
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=20)


def document(**options: Any) -> dict[str, Any]:
    return pod_document(RunOptions(image="alpine", **options), CONTEXT)


def container(**options: Any) -> dict[str, Any]:
    (found,) = document(**options)["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def error_of(**options: Any) -> str:
    with pytest.raises(InvalidArgument) as raised:
        document(**options)
    return raised.value.report()


EVERY = RunOptions(
    image="registry.example/team/Web_App:1.2",
    command=("serve", "--price", "$5", "$(HOME)", "12:30"),
    add_host=("db:10.0.0.9",),
    annotation=("note=any text",),
    cap_add=("net_admin", "CAP_SYS_TIME"),
    cap_drop=("all",),
    cpus="1.5",
    dns=("9.9.9.9",),
    entrypoint='["sh", "-c"]',
    env=("A=1e3", "OURS", "NOT_SET", "B=x=y"),
    env_file=(("vars", "# comment\n\nA=from file\nC=c\n"),),
    group_add=("7",),
    hostname="web.example.org",
    interactive=True,
    label=("app=web",),
    memory="1.5g",
    privileged=True,
    publish=("8080:80", "127.0.0.1:53:5353/udp", "[::1]:9000-9001:90-91"),
    pull="always",
    read_only=True,
    restart="on-failure",
    stop_timeout="3",
    sysctl=("net.core.somaxconn=512",),
    tmpfs=("/tmp:size=64m",),
    user="1000:50",
    volume=("./data:/data:ro", "/srv:/srv:rslave", "cache:/cache", "cache:/again", "/scratch"),
    workdir="/srv/",
)


def test_all_options_together_are_this_pod() -> None:
    assert_golden("tests/unit/golden/pod/options-all.yaml", dump(pod_document(EVERY, CONTEXT)))


def test_an_image_alone_is_this_pod() -> None:
    assert_golden("tests/unit/golden/pod/options-none.yaml", dump(document()))


def test_the_text_of_a_pod_is_planned_as_the_options_are() -> None:
    # Without what the two cannot have in common: the class for named volumes has a test of its own.
    made = pod_document(EVERY, CONTEXT)
    made["spec"]["volumes"] = [v for v in made["spec"]["volumes"] if "persistentVolumeClaim" not in v]
    names = {volume["name"] for volume in made["spec"]["volumes"]}
    mounts = made["spec"]["containers"][0]["volumeMounts"]
    made["spec"]["containers"][0]["volumeMounts"] = [mount for mount in mounts if mount["name"] in names]
    made["spec"]["containers"][0]["image"] = "web-app:1.2"
    by_options = plan_pod(manifest_of([from_values(made, option_of)]), SETTINGS)
    by_text = plan_pod(manifest_of(read(dump(made), "pod.yaml")), SETTINGS)
    assert by_options == by_text


@given(TEXTS)
def test_kubernetes_expands_nothing_of_what_an_option_says(text: str) -> None:
    assert expand(literal(text), {"A": "x"}) == text


@given(st.recursive(TEXTS | st.booleans() | st.integers(-99, 99), lambda of: st.lists(of) | st.dictionaries(TEXTS, of)))
def test_what_is_written_is_read_as_the_same(value: Any) -> None:
    (found,) = read(dump({"value": value}), "written")
    assert found.of("value") is not None
    assert _values(found.of("value")) == value


def _values(node: Any) -> Any:
    if isinstance(node.value, dict):
        return {key: _values(item) for key, item in node.value.items()}
    return [_values(item) for item in node.value] if isinstance(node.value, tuple) else node.value


def test_a_name_is_made_of_the_images_last_part() -> None:
    made = pod_document(RunOptions(image="quay.io/team/My_App@sha256:0"), CONTEXT)
    assert made["metadata"]["name"] == "my-app-x7k2p4"


@pytest.mark.parametrize(
    ("given", "quantity"),
    [("512m", "512Mi"), ("1g", "1Gi"), ("1.5GiB", "1536Mi"), ("100", "100"), ("2k", "2Ki"), ("64Mi", "64Mi")],
)
def test_sizes_are_powers_of_1024_as_in_podman(given: str, quantity: str) -> None:
    assert container(memory=given)["resources"] == {"limits": {"memory": quantity}}


def test_a_limit_of_0_is_left_out() -> None:
    assert "resources" not in container(memory="0", cpus="0")


def test_an_empty_entrypoint_makes_the_command_the_program() -> None:
    found = container(entrypoint="", command=("sh", "-c", "true"))
    assert found["command"] == ["sh", "-c", "true"]
    assert "args" not in found


def test_the_input_of_a_container_in_the_background_stays_open() -> None:
    assert container(interactive=True)["stdinOnce"]
    assert "stdinOnce" not in container(interactive=True, detach=True)


def test_read_only_leaves_memory_where_programs_write_unless_something_is_mounted_there() -> None:
    found = container(read_only=True, volume=("/srv/tmp:/tmp",))
    assert found["securityContext"] == {"readOnlyRootFilesystem": True}
    assert [mount["mountPath"] for mount in found["volumeMounts"]] == ["/tmp", "/run", "/var/tmp"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"publish": ("80",)}, "--publish: a Pod names the port of the host; none is chosen for it\ntry: -p 80:80"),
        ({"publish": ("1-3:1-2",)}, "not of one length"),
        ({"publish": ("70000:80",)}, "not a port"),
        ({"publish": ("80:80/icmp",)}, "'icmp' is not one of tcp, udp, sctp"),
        ({"volume": ("/a:/b:z",)}, "SELinux"),
        ({"volume": ("/a:b",)}, "not an absolute path"),
        ({"volume": ("My_Data:/b",)}, "-v ./My_Data:/PATH"),
        ({"tmpfs": ("/a:mode=700",)}, "a word for size alone"),
        ({"memory": "1q"}, "--memory: '1q' is not a size"),
        ({"cpus": "two"}, "--cpus"),
        ({"user": "nobody"}, "does not name users"),
        ({"network": "host"}, "cannot have the host's network"),
        ({"network": "mine"}, "the node's one network"),
        ({"name": "Web_1"}, "try: --name web-1"),
        ({"label": ("a=any text",)}, "--annotation takes any text"),
        ({"env": ("=x",)}, "--env: '=x' has no name"),
        ({"env_file": (("vars", "\n=x\n"),)}, "vars:2: '=x' has no name"),
        ({"pull": "newer"}, "not one of always, missing, never"),
        ({"restart": "on-failure:3"}, "not one of no, on-failure"),
        ({"entrypoint": "[1]"}, "not a list of words"),
        ({"entrypoint": ""}, "there has to be a COMMAND"),
        ({"workdir": "here"}, "--workdir: 'here' is not an absolute path"),
        ({"add_host": ("db",)}, "NAME:ADDRESS"),
        ({"group_add": ("users",)}, "--group-add: 'users' is not a whole number"),
        ({"sysctl": ("net.core.somaxconn",)}, "--sysctl: 'net.core.somaxconn' has no value\ntry: --sysctl NAME=VALUE"),
    ],
)
def test_what_a_pod_cannot_say_is_refused(options: dict[str, Any], said: str) -> None:
    assert said in error_of(**options)


def test_all_mistakes_are_told_at_once() -> None:
    told = error_of(publish=("80",), memory="x", network="host", env=("=",), name="X")
    assert told.startswith("5 mistakes:\n")
    assert all(f"{option}: " in told for option in ("--publish", "--memory", "--network", "--env", "--name"))


def test_an_error_of_the_plan_names_the_option() -> None:
    made = document(publish=("80:80", "80:81"))
    with pytest.raises(InvalidArgument, match=r"^--publish: there are two of this hostPort"):
        plan_pod(manifest_of([from_values(made, option_of)]), SETTINGS)


def test_an_image_without_a_name_is_told_as_that() -> None:
    with pytest.raises(InvalidArgument, match=r"^IMAGE: the name is empty"):
        pod_document(RunOptions(image=""), CONTEXT)


def test_bytes_of_an_argument_that_are_not_utf_8_are_refused() -> None:
    made = document(env=("A=\udcff",), volume=("/a\udcff:/b",))
    with pytest.raises(InvalidArgument) as raised:
        manifest_of([from_values(made, option_of)])
    assert "--env: it is not text in UTF-8" in str(raised.value)
    assert "--volume: it is not text in UTF-8" in str(raised.value)


def test_no_network_is_an_annotation_which_is_the_pods_and_not_the_users() -> None:
    made = document(network="none", annotation=("note=x", "vmsandbox/network=all"))
    assert made["metadata"]["annotations"] == {"note": "x", "vmsandbox/network": "none"}
    assert plan_pod(manifest_of([from_values(made, option_of)]), SETTINGS).sandbox.networkless
    assert document(network="default") == document()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"network": "none", "publish": ("8080:80",)}, "--publish: a pod without a network cannot have a port"),
        (
            {"annotation": ("vmsandbox/network=None",)},
            "--annotation: 'None' is not a valid value of the annotation vmsandbox/network",
        ),
    ],
)
def test_what_contradicts_no_network_names_its_option(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidArgument, match=f"^{said}"):
        plan_pod(manifest_of([from_values(document(**options), option_of)]), SETTINGS)


def test_every_refusal_has_a_reason_and_every_flag_is_one_of_them() -> None:
    assert set(REFUSED) >= FLAGS
    assert all(name.startswith("--") and reason for name, reason in REFUSED.items())
