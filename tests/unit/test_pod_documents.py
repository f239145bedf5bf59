import pytest

from tests.support.manifests import CHECKOUT, manifest, pod
from vmsandbox.errors import InvalidArgument
from vmsandbox.pod.documents import read_manifest
from vmsandbox.pod.tree import MOST_BYTES, read

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


def values(text: str) -> dict[str, object]:
    (document,) = read(text, "x.yaml")
    assert isinstance(document.value, dict)
    return {key: node.value for key, node in document.value.items()}


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
        (CONTAINER + "volumes: [{name: v, persistentVolumeClaim: {claimName: x}}]", "spec.volumes[0].persistentVol"),
        (CONTAINER + "securityContext: {seLinuxOptions: {level: x}}", "spec.securityContext.seLinuxOptions"),
        ("containers: [{name: a, image: b, volumeDevices: [{name: x}]}]", "spec.containers[0].volumeDevices"),
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


def test_scalars_mean_what_they_mean_to_kubernetes():
    text = (
        "a: 0644\nb: 0o644\nc: 12:30:45\nd: 2026-11-24\ne: 0x1F\nf: on\ng: .5\nh: ~\ni: =\nj: !!str 5\nk: -1_000\nl:\n"
    )
    assert values(text) == {
        "a": 0o644, "b": 0o644, "c": "12:30:45", "d": "2026-11-24", "e": 31, "f": True, "g": 0.5, "h": None, "i": "=",
        "j": "5", "k": -1000, "l": None,
    }  # fmt: skip


def test_a_tag_of_python_is_refused():
    assert "has no meaning" in error_of("a: !!python/object/apply:os.system [ls]")
    assert "has no meaning" in error_of("a: !secret b")


def test_a_key_given_twice_is_an_error_with_its_line():
    assert error_of(HEAD + "metadata: {name: q}\n") == "pod.yaml:4: metadata: this key is given twice"


def test_merge_keys_and_anchors_work_and_own_keys_win():
    text = "base: &b {x: 1, y: 1}\nmore: &m {y: 2, z: 2}\nall: {<<: [*b, *m], x: 3}\n"
    (document,) = read(text, "x.yaml")
    assert {key: node.value for key, node in document.of("all").value.items()} == {"x": 3, "y": 1, "z": 2}


def laughs(first: str, multiplied: str) -> str:
    """Eight levels, each of which says the level below ten times."""
    pairs = zip("abcdefgh", "bcdefghi", strict=True)
    levels = (f"{c}: &{c} " + multiplied.format(", ".join([f"*{p}"] * 10)) for p, c in pairs)
    return "\n".join([f"a: &a {first}", *levels])


@pytest.mark.parametrize(
    "text",
    [
        laughs("[x]", "[{}]"),
        laughs("{}", "{{<<: [{}]}}"),
        "a: &a [*a]",
        "a: &a {<<: *a}",
        "[" * 2000 + "]" * 2000,
        "[" * 100 + "]" * 100,
        "a: " + "x" * MOST_BYTES,
    ],
    ids=["billion laughs", "merged laughs", "recursive", "merges itself", "deep", "nested", "large"],
)  # fmt: skip
def test_a_hostile_file_ends_in_an_error(text):
    with pytest.raises(InvalidArgument, match=r"x\.yaml"):
        read(text, "x.yaml")


@pytest.mark.parametrize(
    "text", ["a: [", "a: b: c", "\x00", "a: *unknown", "? [x]\n: y", "true: x", "%YAML 3.0\n---\na: b", "a:\n\t- b"]
)
def test_what_is_no_yaml_names_the_file(text):
    with pytest.raises(InvalidArgument, match=r"x\.yaml"):
        read(text, "x.yaml")


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
        ("apiVersion: apps/v1\nkind: Deployment", "'Deployment' is not supported"),
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
