"""Lists of pods, containers and images: for people, programs and scripts."""

import json
from dataclasses import replace

import pytest
import yaml

from tests.support.cri import IMAGE
from tests.support.golden import assert_golden
from vmsandbox.model import ContainerMetadata, ContainerTimings, MachineSize, Resources, StartTimings

KUBELETS = "registry.example/shop/web:2"


@pytest.fixture
def shop(vmsandbox):
    """Two pods; the web's container was asked for by an id, as a kubelet does, and has a name of the pod's author."""
    web = vmsandbox.pod("web", annotations={"note": "first"})
    vmsandbox.container(web, "server", labels={"tier": "front"}, user_specified_image=KUBELETS)
    database = vmsandbox.pod("database")
    ended = vmsandbox.container(database, "init")
    vmsandbox.served.runtime.end(ended, 3)
    vmsandbox.container(database, "engine", metadata=ContainerMetadata("engine", 2))
    return vmsandbox


@pytest.mark.parametrize("form", ["json", "yaml"])
@pytest.mark.parametrize("words", [("pods",), ("ps", "--all"), ("images",)], ids=lambda words: words[0])
def test_lists_for_programs_have_one_form(shop, words, form):
    shown = shop(*words, "-o", form)
    assert (shown.status, shown.err) == (0, "")
    assert_golden(f"tests/unit/golden/cli/{words[0]}.{form}", shown.out)


@pytest.mark.parametrize("command", ["pods", "ps", "images"])
def test_yaml_says_the_same_as_json(shop, command):
    assert yaml.safe_load(shop(command, "-o", "yaml").out) == json.loads(shop(command, "-o", "json").out)


def test_pods_show_their_addresses(shop):
    lines = shop("pods").out.splitlines()
    assert lines[0].split() == ["POD", "ID", "NAME", "NAMESPACE", "STATE", "AGE", "ADDRESS", "HANDLER"]
    assert [line.split()[1:4] for line in lines[1:]] == [
        ["database", "default", "Ready"],
        ["web", "default", "Ready"],
    ]
    assert "10.1.2.3,fd00::3" in lines[1]


def test_containers_show_the_names_of_their_images(shop):
    shown = shop("ps").out
    assert KUBELETS in shown
    assert IMAGE.repo_tags[0] in shown
    assert IMAGE.id.removeprefix("sha256:")[:13] not in shown


def test_an_image_without_a_name_is_shown_by_the_beginning_of_its_id(shop):
    shop.served.images.held.clear()
    assert shop("ps", "--filter", "pod=database").out.split()[-1] == IMAGE.id.removeprefix("sha256:")[:13]


def test_wide_tables_show_labels(shop):
    assert "LABELS" not in shop("ps").out
    assert "tier=front" in shop("ps", "-o", "wide").out


def test_names_and_ids_are_words_for_other_commands(shop):
    assert shop("pods", "-o", "name").out == "default/database\ndefault/web\n"
    assert shop("ps", "-o", "name").out == "database/engine\nweb/server\n"
    assert shop("images", "-o", "name").out == f"{IMAGE.repo_tags[0]}\n"
    assert shop("pods", "-q").out.split() == list(reversed(shop.served.runtime.sandboxes))
    assert shop("images", "-q").out == f"{IMAGE.id}\n"


def test_ids_alone_and_a_form_for_programs_exclude_each_other(shop):
    refused = shop("pods", "-q", "-o", "json")
    assert refused.status == 2
    assert "exclude each other" in refused.err


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("pods", "--filter", "name=w*"), ["default/web"]),
        (("pods", "--filter", "status=notready"), []),
        (("pods", "--filter", "name=web", "--filter", "name=database"), ["default/database", "default/web"]),
        (("pods", "--filter", "label=app=web", "--filter", "label=app"), ["default/web"]),
        (("pods", "--filter", "label=app=web", "--filter", "label=none"), []),
        (("ps",), ["database/engine", "web/server"]),
        (("ps", "--all"), ["database/engine", "database/init", "web/server"]),
        (("ps", "--filter", "status=exited"), ["database/init"]),
        (("ps", "--filter", "pod=web"), ["web/server"]),
        (("ps", "--filter", "label=tier=front"), ["web/server"]),
        (("ps", "--filter", "image=*/web:2"), ["web/server"]),
    ],
)
def test_filters_choose(shop, words, names):
    assert shop(*words, "-o", "name").out.split() == names


@pytest.mark.parametrize("text", ["name", "name=", "colour=red"])
def test_a_filter_that_is_not_known_is_refused_with_those_that_are(shop, text):
    refused = shop("ps", "--filter", text)
    assert refused.status == 2
    assert "name, namespace, status, label, id, pod, image" in " ".join(refused.err.split())


def test_inspect_tells_states_in_words_and_times_as_rfc_3339(shop):
    pod, container, image = json.loads(shop("inspect", "web", "database/init", IMAGE.repo_tags[0]).out)
    assert (pod["kind"], pod["status"]["state"]) == ("pod", "READY")
    assert pod["status"]["createdAt"] == "2023-11-14T22:13:20.000000000Z"
    assert pod["info"]["runtimeHandler"] == "small"
    assert (container["kind"], container["status"]["state"]) == ("container", "EXITED")
    assert container["status"]["exitCode"] == 3
    assert container["status"]["finishedAt"].endswith("Z")
    assert (image["kind"], image["id"]) == ("image", IMAGE.id)


def test_what_inspect_adds_has_one_form(shop):
    runtime = shop.served.runtime
    web = next(each for each in runtime.sandboxes.values() if each.config.metadata.name == "web")
    limits = Resources(cpu_quota=50_000, cpu_period=100_000, cpu_shares=204, memory_limit=256 << 20)
    runtime.sandboxes[web.id] = replace(
        web,
        config=replace(web.config, resources=limits, overhead=Resources(memory_limit=128 << 20)),
        memory=384 << 20,
        vcpus=1,
        booted=MachineSize(1, 384 << 20),
        most=MachineSize(8, 4096 << 20),
        accelerator="kvm",
        start=StartTimings(0.001, 0.21, 0.6, 1.4, 1.5, 1.501),
    )
    server = next(each for each in runtime.containers.values() if each.sandbox_id == web.id)
    runtime.change(server.id, timings=ContainerTimings(0.31, 0.05))
    shown = [
        {**found["info"], "config": found["info"]["config"]["metadata"]["name"]}
        for found in json.loads(shop("inspect", "web", "web/server").out)
    ]
    assert_golden("tests/unit/golden/cli/inspect.json", json.dumps(shown, indent=2) + "\n")


def test_inspect_shows_what_it_finds_and_fails_for_the_rest(shop):
    shown = shop("inspect", "nope", "web")
    assert shown.status == 1
    assert "there is no pod, container or image nope" in shown.err
    assert [found["kind"] for found in json.loads(shown.out)] == ["pod"]


def test_inspect_looks_for_one_kind(shop):
    (found,) = json.loads(shop("inspect", "--type", "container", "web").out)
    assert (found["kind"], found["status"]["metadata"]["name"]) == ("container", "server")
    assert "there is no image web" in shop("inspect", "--type", "image", "web").err
