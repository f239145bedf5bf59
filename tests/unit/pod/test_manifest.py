import pytest

from tests.support.manifests import CHECKOUT, manifest, pod
from vmsandbox.errors import InvalidArgument
from vmsandbox.pod.api.manifest import read_manifest

HEAD = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n"
CONTAINER = "containers: [{name: a, image: b}]\n"


def error_of(text: str) -> str:
    with pytest.raises(InvalidArgument) as raised:
        manifest(text)
    return str(raised.value)


def spec_error(spec: str, *more: str) -> str:
    with pytest.raises(InvalidArgument) as raised:
        pod(spec, *more)
    return str(raised.value)


def test_every_example_is_a_manifest():
    files = sorted((CHECKOUT / "examples").glob("*pod*.yaml"))
    assert files
    for file in files:
        read_manifest([(file.name, file.read_text())])


def test_an_error_names_file_line_and_field():
    text = f"{HEAD}spec:\n  containers:\n    - name: a\n      image: [b]\n"
    assert error_of(text) == "pod.yaml:7: spec.containers[0].image: expected a string, not a list"


def test_a_missing_field_is_named_where_it_should_stand():
    assert spec_error("containers:\n  - name: a") == "pod.yaml:6: spec.containers[0].image: this field is required"


def test_an_unknown_field_is_an_error_that_suggests_the_nearest():
    with pytest.raises(InvalidArgument) as raised:
        pod("containers: [{name: a, image: b, imagePullPolice: Never}]")
    assert str(raised.value).endswith("imagePullPolice: there is no such field")
    assert raised.value.hint == "did you mean imagePullPolicy?"


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (CONTAINER + "ephemeralContainers: [{name: c}]", "spec.ephemeralContainers"),
        (CONTAINER + "volumes: [{name: v, nfs: {path: /x}}]", "spec.volumes[0].nfs"),
        (CONTAINER + "securityContext: {seLinuxOptions: {level: x}}", "spec.securityContext.seLinuxOptions"),
        ("containers: [{name: a, image: b, livenessProbe: {grpc: {port: 1}}}]", "livenessProbe.grpc"),
    ],
)  # fmt: skip
def test_a_field_that_is_not_supported_is_named(spec, field):
    message = spec_error(spec)
    assert field in message
    assert "not supported" in message


def test_fields_that_mean_nothing_here_and_nulls_are_accepted():
    pod(
        CONTAINER
        + "nodeSelector: {a: b}\ntolerations: [{operator: Exists}]\nserviceAccountName: x\nephemeralContainers: []\n"
        + "volumes: null\npriorityClassName: high\n"
    )
    manifest(HEAD + "status: {phase: Pending}\nspec: {containers: [{name: a, image: b, workingDir: null}]}")


@pytest.mark.parametrize("value", ["5", "true", "yes", "1.5", "1e3", "{x: y}", "[a]"])
def test_a_string_is_not_guessed_from_another_type(value):
    assert "expected a string" in spec_error("containers: [{name: a, image: b, workingDir: " + value + "}]")


def test_the_hint_for_an_unquoted_string_is_the_quoted_one():
    with pytest.raises(InvalidArgument) as raised:
        pod("containers: [{name: a, image: b, args: [8080]}]")
    assert raised.value.hint == '"8080"'


def test_documents_of_several_files_belong_together():
    found = read_manifest(
        [
            ("pod.yaml", f"---\n{HEAD}spec: {{{CONTAINER.strip()}}}\n---\n"),
            ("more.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: b}\nbinaryData: {d: AAE=}"),
            ("s.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {a: YQ==}\nstringData: {a: c}"),
        ]
    )
    assert found.config_maps["c"].content == {"a": b"b", "d": b"\0\1"}
    assert found.secrets["s"].content == {"a": b"c"}
    assert "YQ" not in repr(found.secrets["s"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("apiVersion: apps/v1\nkind: Deploiment", "'Deploiment' is not supported"),
        ("apiVersion: v1\nkind: pod", "'pod' is not supported"),
        ("apiVersion: v2\nkind: Pod\nmetadata: {name: a}", "apiVersion v1, not 'v2'"),
        ("metadata: {name: a}", "an object needs a kind"),
        ("apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {a: '%'}", "data.a: this is not base64"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: s, namespace: x}", "in namespace 'default'"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: []}", "this is a second Pod"),
        ("[]", "expected a mapping"),
        ("text", "expected a mapping"),
    ],
)
def test_a_document_that_does_not_belong_is_refused(text, message):
    assert message in spec_error(CONTAINER, text)


def test_two_objects_of_one_name_are_refused():
    config_map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}"
    assert "there are two ConfigMaps" in spec_error(CONTAINER, config_map, config_map)


def test_no_pod_is_an_error():
    assert error_of("") == "pod.yaml: there is no Pod in it"
