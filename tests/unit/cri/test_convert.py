"""Protobuf and model: every field of the CRI's configuration has a fate, and what is converted comes back."""

import dataclasses
import json
from pathlib import Path

import pytest
from cri_api.v1 import api_pb2 as api
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.measures import measures
from tests.support.golden import assert_golden
from vmsandbox.cri.convert import fields, from_cri, to_cri
from vmsandbox.cri.convert.container import container_config_from_cri, container_config_to_cri
from vmsandbox.cri.convert.image import image_from_cri, image_to_cri, registry_auth_from_cri, registry_auth_to_cri
from vmsandbox.cri.convert.json_document import document
from vmsandbox.cri.convert.pod import sandbox_config_from_cri, sandbox_config_to_cri
from vmsandbox.cri.convert.signals import signal_from_cri, signal_to_cri
from vmsandbox.cri.convert.usage import container_stats_to_cri, sandbox_stats_to_cri
from vmsandbox.errors import InvalidArgument, Unimplemented
from vmsandbox.model import (
    ContainerConfig,
    ContainerEvent,
    ContainerEventKind,
    ContainerMetadata,
    ContainerSecurity,
    ContainerState,
    ContainerStatus,
    ContainerTimings,
    ContainerUsage,
    ContainerUser,
    Device,
    IdMapping,
    Image,
    ImageConfig,
    InterfaceUsage,
    MachineUsage,
    Mount,
    NamespaceMode,
    Namespaces,
    PodSandboxConfig,
    PodSandboxMetadata,
    PortMapping,
    PropagationMode,
    RegistryAuth,
    Resources,
    SandboxState,
    SandboxStatus,
    SandboxUsage,
    SecurityProfile,
    SupplementalGroupsPolicy,
    UserNamespace,
)
from vmsandbox.protocol.bounds import Int64, UInt64
from vmsandbox.protocol.codec import encode
from vmsandbox.protocol.messages import Dns

GOLDEN = Path("tests/unit/golden/cri")

text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
name = st.text("abcxyz-", min_size=1, max_size=8)
int64 = st.integers(-(2**63), 2**63 - 1)
int32 = st.integers(-(2**31), 2**31 - 1)
uint32 = st.integers(0, 2**32 - 1)
pairs = st.dictionaries(name, text, max_size=2)
sizes = st.dictionaries(name, st.integers(0, 2**64 - 1), max_size=2)


def made_of(kind, **given_fields):
    """Values of a dataclass, every field drawn; a field that is not given is drawn by its type."""
    by_type = {
        int: int64,
        Int64: int64,
        str: text,
        bool: st.booleans(),
        dict[str, str]: pairs,
        dict[str, UInt64]: sizes,
    }
    hints = {field.name: field.type for field in dataclasses.fields(kind)}
    drawn = {key: by_type[hint] for key, hint in hints.items() if key not in given_fields}
    return st.builds(kind, **drawn, **given_fields)


def tuples(strategy):
    return st.lists(strategy, max_size=2).map(tuple)


modes = st.sampled_from(NamespaceMode)
id_mapping = made_of(IdMapping, host_id=uint32, container_id=uint32, length=uint32)
user_namespace = made_of(UserNamespace, mode=modes, uids=tuples(id_mapping), gids=tuples(id_mapping))
namespaces = made_of(Namespaces, network=modes, pid=modes, ipc=modes, user=st.none() | user_namespace)
pod_config = made_of(
    PodSandboxConfig,
    metadata=made_of(PodSandboxMetadata, name=name, uid=name, namespace=name, attempt=uint32),
    dns=st.none() | made_of(Dns, servers=tuples(text), searches=tuples(text), options=tuples(text)),
    port_mappings=tuples(
        made_of(PortMapping, container_port=int32, host_port=int32, protocol=st.sampled_from(["tcp", "udp", "sctp"]))
    ),
    namespaces=namespaces,
    resources=made_of(Resources),
    overhead=made_of(Resources),
    network_namespace=st.just(""),  # the OCI door's, and the next
    late_network=st.just(False),
    shm_size=st.just(0),
    lasting=st.just(False),
)
profile = st.sampled_from([SecurityProfile("runtime_default"), SecurityProfile()]) | st.builds(
    SecurityProfile, st.just("localhost"), name
)
users = st.fixed_dictionaries({"run_as_username": name}) | st.fixed_dictionaries(
    {"run_as_user": st.none() | int64, "run_as_username": st.just("")}
)


@st.composite
def securities(draw):
    user = draw(users)
    named = user["run_as_username"] or user["run_as_user"] is not None
    others = made_of(
        ContainerSecurity,
        add_capabilities=tuples(text),
        drop_capabilities=tuples(text),
        add_ambient_capabilities=tuples(text),
        namespaces=namespaces,
        run_as_user=st.none(),
        run_as_username=st.just(""),
        run_as_group=st.none() | int64 if named else st.none(),
        supplemental_groups=tuples(int64),
        supplemental_groups_policy=st.sampled_from(SupplementalGroupsPolicy),
        masked_paths=tuples(text),
        readonly_paths=tuples(text),
        seccomp=profile,
        apparmor=profile,
    )
    return dataclasses.replace(draw(others), **user)


@st.composite
def mounts(draw):
    recursive = draw(st.booleans())
    source = draw(
        st.fixed_dictionaries({"host_path": name})
        | st.fixed_dictionaries({"image": name, "user_specified_image": text, "image_sub_path": text})
    )
    return Mount(
        container_path=draw(text),
        readonly=recursive or draw(st.booleans()),
        recursive_read_only=recursive,
        propagation=PropagationMode.PRIVATE if recursive else draw(st.sampled_from(PropagationMode)),
        uid_mappings=draw(tuples(id_mapping)),
        gid_mappings=draw(tuples(id_mapping)),
        **source,
    )


signals = st.sampled_from(["", "SIGTERM", "SIGRTMIN", "SIGRTMIN+15", "SIGRTMAX-14", "SIGRTMAX"])
config = made_of(
    ContainerConfig,
    metadata=made_of(ContainerMetadata, name=name, attempt=uint32),
    image=name,
    command=tuples(text),
    args=tuples(text),
    envs=pairs,
    mounts=tuples(mounts()),
    devices=tuples(made_of(Device)),
    cdi_devices=tuples(name),
    log_path=name,
    resources=made_of(Resources),
    security=securities(),
    stop_signal=signals,
    root=st.just(""),  # the OCI door's, as is `spec`
    spec=st.none(),
)


@given(pod_config)
def test_a_sandbox_configuration_comes_back(model):
    wire = api.PodSandboxConfig.FromString(sandbox_config_to_cri(model).SerializeToString())
    assert sandbox_config_from_cri(wire, model.runtime_handler) == model


@given(config)
def test_a_container_configuration_comes_back(model):
    wire = api.ContainerConfig.FromString(container_config_to_cri(model).SerializeToString())
    assert container_config_from_cri(wire) == model


@given(config)
def test_the_document_of_a_message_is_the_message(model):
    wire = container_config_to_cri(model)
    assert json_format.ParseDict(document(wire), api.ContainerConfig()) == wire


@given(
    st.builds(
        SandboxStatus,
        id=name,
        config=st.builds(
            PodSandboxConfig,
            metadata=made_of(PodSandboxMetadata, attempt=uint32),
            labels=pairs,
            annotations=pairs,
            namespaces=namespaces,
            runtime_handler=text,
        ),
        state=st.sampled_from([SandboxState.READY, SandboxState.NOTREADY]),
        created_at=int64,
    ),
    tuples(name),
)
def test_the_status_of_a_sandbox_comes_back(status, ips):
    status = dataclasses.replace(status, ips=ips if status.state is SandboxState.READY else ())
    assert from_cri.sandbox_status_from_cri(to_cri.sandbox_status_to_cri(status)) == status
    listed = dataclasses.replace(status, ips=(), config=dataclasses.replace(status.config, namespaces=Namespaces()))
    assert from_cri.sandbox_item_from_cri(to_cri.sandbox_item_to_cri(status)) == listed


@given(
    made_of(
        ContainerStatus,
        config=st.builds(
            ContainerConfig,
            metadata=made_of(ContainerMetadata, attempt=uint32),
            image=name,
            user_specified_image=text,
            labels=pairs,
            annotations=pairs,
            mounts=tuples(mounts()),
            resources=made_of(Resources),
            stop_signal=signals.filter(bool),
        ),
        state=st.sampled_from(ContainerState),
        exit_code=int32,
        user=st.none() | made_of(ContainerUser, supplemental_groups=tuples(int64)),
        timings=st.just(ContainerTimings()),
    )
)
def test_the_status_of_a_container_comes_back(status):
    assert from_cri.container_status_from_cri(to_cri.container_status_to_cri(status, None), status.sandbox_id) == status
    item = from_cri.container_item_from_cri(to_cri.container_item_to_cri(status))
    assert (item.id, item.sandbox_id, item.state, item.image_id) == (
        status.id,
        status.sandbox_id,
        status.state,
        status.image_id,
    )
    assert (item.config.labels, item.config.metadata) == (status.config.labels, status.config.metadata)


@given(
    st.builds(ContainerEvent, container_id=text, sandbox_id=text, kind=st.sampled_from(ContainerEventKind), at=int64)
)
def test_an_event_comes_back(event):
    sandbox = SandboxStatus(
        event.sandbox_id, PodSandboxConfig(PodSandboxMetadata("n", "u", "s")), SandboxState.READY, 1
    )
    assert from_cri.event_from_cri(to_cri.event_to_cri(event, sandbox, [])) == event


def test_an_event_without_a_sandbox_is_of_a_sandbox_that_was_removed():
    event = ContainerEvent("s", "s", ContainerEventKind.DELETED, 1)
    assert from_cri.event_from_cri(to_cri.event_to_cri(event, None, [])) == event


@given(made_of(RegistryAuth))
def test_credentials_come_back(auth):
    assert registry_auth_from_cri(registry_auth_to_cri(auth)) == auth


def _fields_of(message, seen=()):
    """Every field that can be set in a message and in what it holds, as (path of descriptors, name)."""
    for descriptor in message.fields:
        yield (*seen, descriptor)
        inner = descriptor.message_type
        key = f"{message.name}.{descriptor.name}"
        if inner is None or inner.GetOptions().map_entry or key in fields.REFUSED or key in fields.IGNORED:
            continue
        yield from _fields_of(inner, (*seen, descriptor))


def _set(message, path):
    """Set the field at the end of a path to something else than its default."""
    descriptor, *rest = path
    current = getattr(message, descriptor.name)
    if rest:
        _set(_entry(current, rest) if descriptor.is_repeated else current, rest)
    elif descriptor.message_type is not None and descriptor.message_type.GetOptions().map_entry:
        current["key"] = "value"
    elif descriptor.message_type is not None:
        (current.add() if descriptor.is_repeated else current).SetInParent()
    elif descriptor.is_repeated:
        current.append(_value(descriptor))
    else:
        setattr(message, descriptor.name, _value(descriptor))


def _entry(entries, rest):
    """The mount of a directory, or of an image; a new entry of any other list."""
    if not entries:
        return entries.add()
    return entries[1 if rest[0].name.startswith("image") else 0]


def _value(descriptor):
    if descriptor.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return "localhost/x" if "profile" in descriptor.name else "x"
    if descriptor.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return True
    # Not the first value of an enumeration, nor a profile's Unconfined: they are what is meant where nothing is set.
    return 2 if descriptor.name == "profile_type" else 1


def _base(message):
    """Return the fields that each configuration needs, and those that a field depends on."""
    base = {
        "PodSandboxConfig": api.PodSandboxConfig(
            metadata=api.PodSandboxMetadata(name="n", uid="u", namespace="s"),
            linux=api.LinuxPodSandboxConfig(
                security_context=api.LinuxSandboxSecurityContext(run_as_user=api.Int64Value(value=5))
            ),
        ),
        "ContainerConfig": api.ContainerConfig(
            metadata=api.ContainerMetadata(name="n"),
            image=api.ImageSpec(image="i"),
            mounts=[api.Mount(host_path="/h"), api.Mount(image=api.ImageSpec(image="i"))],
            linux=api.LinuxContainerConfig(
                security_context=api.LinuxContainerSecurityContext(run_as_user=api.Int64Value(value=5))
            ),
        ),
    }[message.DESCRIPTOR.name]
    message.CopyFrom(base)
    return message


CASES = [
    pytest.param(kind, path, id=".".join([kind.DESCRIPTOR.name, *(part.name for part in path)]))
    for kind in (api.PodSandboxConfig, api.ContainerConfig)
    for path in _fields_of(kind.DESCRIPTOR)
]
CONVERT = {api.PodSandboxConfig: sandbox_config_from_cri, api.ContainerConfig: container_config_from_cri}


@pytest.mark.parametrize(("kind", "path"), CASES)
def test_every_field_is_converted_refused_or_ignored_for_a_reason(kind, path):
    """A field that is converted shows in the model, or contradicts what else is set, which is an error too."""
    key = f"{path[-1].containing_type.name}.{path[-1].name}"
    convert = CONVERT[kind]
    wire = _base(kind())
    before = convert(wire)
    _set(wire, path)
    if key in fields.REFUSED:
        with pytest.raises(Unimplemented, match=key):
            convert(wire)
    elif key in fields.IGNORED:
        assert convert(wire) == before
    else:
        assert _outcome(convert, wire) != before or path[-1].message_type is not None


def _outcome(convert, wire):
    try:
        return convert(wire)
    except (InvalidArgument, Unimplemented) as error:
        return error


def test_what_is_listed_as_not_converted_exists():
    known = {f"{path[-1].containing_type.name}.{path[-1].name}" for _, path in (case.values for case in CASES)}
    assert not (fields.IGNORED.keys() | fields.REFUSED.keys()) - known


def container(**given_fields):
    return api.ContainerConfig(metadata=api.ContainerMetadata(name="n"), image=api.ImageSpec(image="i"), **given_fields)


def secured(**given_fields):
    return container(linux=api.LinuxContainerConfig(security_context=api.LinuxContainerSecurityContext(**given_fields)))


@pytest.mark.parametrize(
    ("wire", "said"),
    [
        (secured(seccomp_profile_path="nonsense"), "not a security profile"),
        (secured(namespace_options=api.NamespaceOption(pid=17)), "does not know: 17"),
        (container(mounts=[api.Mount(container_path="/m", host_path="/h", propagation=9)]), "does not know: 9"),
    ],
)
def test_a_container_that_the_model_cannot_represent_is_refused(wire, said):
    with pytest.raises(InvalidArgument, match=said):
        container_config_from_cri(wire)


def test_a_sandbox_with_a_group_and_no_user_is_refused():
    wire = api.PodSandboxConfig(metadata=api.PodSandboxMetadata(name="n", uid="u", namespace="s"))
    wire.linux.security_context.run_as_group.value = 5
    with pytest.raises(InvalidArgument, match="run_as_group"):
        sandbox_config_from_cri(wire)


def test_devices_by_cdi_are_found_in_the_field_and_in_annotations():
    model = container_config_from_cri(
        container(
            CDI_devices=[api.CDIDevice(name="a.example/gpu=0")],
            annotations={"cdi.k8s.io/x": "b.example/gpu=1,b.example/gpu=2", "other": "c.example/gpu=3"},
        )
    )
    assert model.cdi_devices == ("a.example/gpu=0", "b.example/gpu=1", "b.example/gpu=2")
    assert model.annotations["cdi.k8s.io/x"] == "b.example/gpu=1,b.example/gpu=2"


def test_absent_namespaces_are_the_pods_as_in_the_cri():
    model = container_config_from_cri(container()).security.namespaces
    assert (model.pid, model.ipc, model.network) == (NamespaceMode.POD, NamespaceMode.POD, NamespaceMode.POD)


@pytest.mark.parametrize(
    ("wire", "profile_"),
    [
        ({}, SecurityProfile("unconfined")),
        ({"seccomp_profile_path": "unconfined"}, SecurityProfile("unconfined")),
        ({"seccomp_profile_path": "runtime/default"}, SecurityProfile("runtime_default")),
        ({"seccomp_profile_path": "localhost//etc/p.json"}, SecurityProfile("localhost", "/etc/p.json")),
        ({"seccomp": api.SecurityProfile()}, SecurityProfile("runtime_default")),
        ({"seccomp": api.SecurityProfile(profile_type=1)}, SecurityProfile("unconfined")),
        (
            {"seccomp": api.SecurityProfile(profile_type=1), "seccomp_profile_path": "runtime/default"},
            SecurityProfile("unconfined"),
        ),
    ],
)
def test_seccomp_is_read_from_the_new_field_then_from_the_old(wire, profile_):
    assert container_config_from_cri(secured(**wire)).security.seccomp == profile_


@pytest.mark.parametrize("wire", api.Signal.values())
def test_every_signal_comes_back(wire):
    assert signal_to_cri(signal_from_cri(wire)) == wire or wire == api.RUNTIME_DEFAULT


@pytest.mark.parametrize(
    ("text_", "wire"),
    [
        ("TERM", api.SIGTERM),
        ("sigquit", api.SIGQUIT),
        ("9", api.SIGKILL),
        ("SIGRTMIN+3", api.SIGRTMINPLUS3),
        ("37", api.SIGRTMINPLUS3),
        ("64", api.SIGRTMAX),
        ("63", api.SIGRTMAXMINUS1),
        ("RTMIN+3", api.SIGRTMINPLUS3),
        ("SIGNONSENSE", api.RUNTIME_DEFAULT),
        ("999", api.RUNTIME_DEFAULT),
    ],
)
def test_signals_are_found_as_images_write_them(text_, wire):
    assert signal_to_cri(text_) == wire


@pytest.mark.parametrize(
    ("user", "uid", "username"),
    [
        ("", None, ""),
        ("1002", 1002, ""),
        ("0", 0, ""),
        ("1003:1004", 1003, ""),
        ("www-data", None, "www-data"),
        ("www-data:1004", None, "www-data"),
        ("4294967296", None, "4294967296"),
        ("9" * 6000, None, "9" * 6000),
    ],
)
def test_the_user_of_an_image_is_a_number_or_a_name(user, uid, username):
    wire = image_to_cri(Image("sha256:1", config=ImageConfig(user=user)))
    assert (wire.uid.value if wire.HasField("uid") else None, wire.username) == (uid, username)
    assert image_from_cri(wire).config.user == user.partition(":")[0]


def test_the_kubelets_container_is_converted_as_recorded():
    """A whole configuration as a kubelet sends it, beside the model that it becomes."""
    source = Path(__file__).parents[1] / "golden/cri/container.json"
    wire = json_format.Parse(source.read_text(), api.ContainerConfig())
    assert_golden(GOLDEN / "container.model.json", _lines(container_config_from_cri(wire)))


def test_the_kubelets_sandbox_is_converted_as_recorded():
    source = Path(__file__).parents[1] / "golden/cri/sandbox.json"
    wire = json_format.Parse(source.read_text(), api.PodSandboxConfig())
    assert_golden(GOLDEN / "sandbox.model.json", _lines(sandbox_config_from_cri(wire, "small")))


def test_a_pod_without_a_network_has_no_network_status_that_a_kubelet_would_find_without_an_address():
    pod = PodSandboxConfig(PodSandboxMetadata("web", "uid", "default"), annotations={"vmsandbox/network": "none"})
    status = SandboxStatus("s1", pod, SandboxState.READY, 1)
    assert not to_cri.sandbox_status_to_cri(status).HasField("network")
    attached = dataclasses.replace(status, config=dataclasses.replace(pod, annotations={}))
    assert to_cri.sandbox_status_to_cri(attached).HasField("network")
    usage = SandboxUsage(MachineUsage(at=1, cpu=1, memory=1, working_set=1, page_faults=1, major_page_faults=1), None)
    assert not sandbox_stats_to_cri(status, usage, ()).linux.HasField("network")


def test_what_a_sandbox_uses_is_converted_as_recorded():
    pod = PodSandboxConfig(
        PodSandboxMetadata("web", "uid", "default", 1), labels={"app": "web"}, annotations={"a": "b"}
    )
    status = SandboxStatus("s1", pod, SandboxState.READY, 1)
    config = ContainerConfig(ContainerMetadata("main"), "image", labels={"of": "main"})
    container = ContainerStatus("c1", "s1", config, ContainerState.RUNNING, 2, "image", "image")
    usage = SandboxUsage(
        MachineUsage(at=10, cpu=11, memory=12, working_set=13, page_faults=14, major_page_faults=15),
        InterfaceUsage(
            20,
            "eth0",
            21,
            rx_packets=1,
            rx_errors=22,
            rx_dropped=2,
            tx_bytes=23,
            tx_packets=3,
            tx_errors=24,
            tx_dropped=4,
        ),
    )
    containers = [container_stats_to_cri(container, ContainerUsage(30, measures("c1")), Path("/var/lib/layers"))]
    wire = sandbox_stats_to_cri(status, usage, containers)
    assert_golden(GOLDEN / "sandbox.stats.json", json_format.MessageToJson(wire, indent=1, sort_keys=True) + "\n")


def _lines(model):
    """Without the fields that stand at their default."""
    return json.dumps(encode(model), indent=1, sort_keys=True) + "\n"
