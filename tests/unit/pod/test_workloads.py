"""Kinds with a template, lists, and kinds that one pod has no use for."""

from typing import Any

import pytest
import yaml

from tests.support.manifests import SETTINGS, manifest
from vmsandbox.errors import InvalidArgument, Mistakes
from vmsandbox.pod.api import EmptyDir, Manifest
from vmsandbox.pod.api.manifest import read_manifest
from vmsandbox.pod.plan import NamedVolumeUse, plan_pod

TEMPLATE = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}}


def workload(kind: str, version: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "web"}, "spec": {"template": TEMPLATE, **spec}}


def read(*documents: dict[str, Any], only: str = "") -> Manifest:
    return read_manifest([("pod.yaml", yaml.safe_dump_all(documents))], only)


@pytest.mark.parametrize(
    ("kind", "version"),
    [("Deployment", "apps/v1"), ("ReplicaSet", "apps/v1"), ("DaemonSet", "apps/v1"), ("Job", "batch/v1"),
     ("ReplicationController", "v1"), ("Deployment", "extensions/v1beta1")],
)  # fmt: skip
def test_one_pod_of_a_template_runs_under_the_name_of_its_object(kind: str, version: str) -> None:
    found = read(workload(kind, version, replicas=3, selector={"matchLabels": {"app": "x"}}))
    assert (found.pod.metadata.name, found.pod.metadata.labels) == ("web", {"app": "x"})
    assert [container.name for container in found.pod.spec.containers] == ["c"]
    assert found.notes == (f"{kind} web: one pod of its template runs; left out: replicas: 3",)


def test_a_cron_job_runs_once_now() -> None:
    job = {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": TEMPLATE}}}
    found = read({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "tick"}, "spec": job})
    assert found.pod.metadata.name == "tick"
    assert found.notes == ("CronJob tick: runs once, now; left out: schedule: * * * * *",)


def test_a_job_may_have_a_generated_name() -> None:
    job = workload("Job", "batch/v1") | {"metadata": {"generateName": "pi-"}}
    assert read(job).pod.metadata.name == "pi"


def test_the_first_pod_of_a_stateful_set_has_its_claims_and_its_name() -> None:
    claim = {"metadata": {"name": "www"}, "spec": {"accessModes": ["ReadWriteOncePod"]}}
    found = read(workload("StatefulSet", "apps/v1", serviceName="nginx", volumeClaimTemplates=[claim]))
    assert (found.pod.metadata.name, found.pod.spec.hostname, found.pod.spec.subdomain) == ("web-0", "web-0", "nginx")
    assert plan_pod(found, SETTINGS).volumes == {"www": NamedVolumeUse("www-web-0", alone=True)}


def test_objects_that_one_pod_has_no_use_for_are_left_out_with_a_note() -> None:
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "r"}, "rules": [1]}
    found = read(SERVICE, role, workload("Deployment", "apps/v1"))
    assert found.notes[-1] == "left out, as one pod on one node has no use for it: Service web, Role r"


def test_the_items_of_a_list_count() -> None:
    items = [SERVICE, workload("Deployment", "apps/v1")]
    assert read({"apiVersion": "v1", "kind": "List", "items": items}).pod.metadata.name == "web"


def test_of_several_pods_one_is_chosen() -> None:
    other = workload("Job", "batch/v1") | {"metadata": {"name": "other"}}
    both = (workload("Deployment", "apps/v1"), other)
    with pytest.raises(InvalidArgument, match="this is a second Pod") as raised:
        read(*both)
    assert raised.value.hint == "--only, one of Deployment/web, Job/other"
    assert read(*both, only="other").pod.metadata.name == "other"
    assert "not run (--only): Job other" in read(*both, only="Deployment/web").notes
    with pytest.raises(InvalidArgument, match="there is no such pod"):
        read(*both, only="absent")


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (workload("Deploymnt", "apps/v1"), "did you mean Deployment?"),
        (workload("Deployment", "batch/v1"), "apiVersion: Deployment is of apiVersion apps/v1"),
        (workload("Job", "batch/v1") | {"metadata": {}}, "metadata.name: this field is required"),
        ({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}}, "spec.template"),
        (SERVICE, "try: it holds Service web"),
        ({"apiVersion": "v1", "kind": "List", "items": {}}, "expected a list of objects"),
    ],
)
def test_what_cannot_be_run_is_an_error_with_what_to_do(document: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        read(document)
    assert said in raised.value.report()


def test_a_mistake_in_a_template_has_its_line_and_field_there() -> None:
    text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: w}\nspec: {template: {spec:\n  {containers: 5}}}"
    with pytest.raises(InvalidArgument, match=r"pod\.yaml:5: spec\.template\.spec\.containers: expected a list"):
        manifest(text)


@pytest.mark.parametrize(
    ("modes", "volume", "planned"),
    [
        ([], {}, NamedVolumeUse("data")),
        (["ReadWriteOnce", "ReadOnlyMany"], {}, NamedVolumeUse("data")),
        (["ReadOnlyMany"], {}, NamedVolumeUse("data", read_only=True)),
        (["ReadWriteMany"], {"readOnly": True}, NamedVolumeUse("data", read_only=True)),
        (["ReadWriteOncePod"], {}, NamedVolumeUse("data", alone=True)),
    ],
)
def test_a_claim_says_how_its_volume_is_used(modes: list[str], volume: dict[str, Any], planned: NamedVolumeUse) -> None:
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {
        "containers": [{"name": "c", "image": "i", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
        "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data", **volume}}],
    }}  # fmt: skip
    found = read(claim | {"spec": {"accessModes": modes}}, pod)
    assert plan_pod(found, SETTINGS).volumes == {"v": planned}


def test_all_mistakes_of_all_documents_are_told_at_once() -> None:
    text = """
    apiVersion: v1
    kind: ConfigMap
    metadata: {name: c}
    data: {a: 5}
    ---
    apiVersion: v1
    kind: Pod
    metadata: {name: p}
    spec:
      restartPolice: Never
      containers:
        - {name: one, image: [x]}
        - {name: two, image: y, env: [{name: A, value: 1}]}
    """
    with pytest.raises(Mistakes) as raised:
        manifest(text)
    lines = [str(error).partition(" ")[0] for error in raised.value.errors]
    assert lines == ["pod.yaml:5:", "pod.yaml:11:", "pod.yaml:13:", "pod.yaml:14:"]


def test_all_mistakes_of_a_plan_are_told_at_once() -> None:
    text = """
    apiVersion: v1
    kind: Pod
    metadata: {name: P}
    spec:
      terminationGracePeriodSeconds: -1
      volumes:
        - {name: v, configMap: {name: absent}}
        - {name: w, persistentVolumeClaim: {claimName: A_B}}
      containers:
        - name: one
          image: "x:"
          volumeMounts: [{name: u, mountPath: /u}, {name: u, mountPath: /u}]
          env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: k}}}, {name: "=", value: x}]
        - {name: one, image: y, ports: [{containerPort: 0}], resources: {limits: {gpu: 1}}}
    """
    with pytest.raises(Mistakes) as raised:
        plan_pod(manifest(text), SETTINGS)
    told = {str(error).split(" ")[0].rstrip(":") + " " + str(error).split(" ")[1] for error in raised.value.errors}
    assert {line.partition(" ")[0] for line in told} >= {f"pod.yaml:{n}" for n in (4, 6, 8, 9, 12, 13, 14, 15)}
    assert len(raised.value.errors) >= 12


def test_a_volume_without_a_source_is_an_empty_one_as_in_kubernetes() -> None:
    spec = {"containers": [{"name": "c", "image": "i"}], "volumes": [{"name": "v"}]}
    found = read({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec})
    assert plan_pod(found, SETTINGS).volumes == {"v": EmptyDir()}
