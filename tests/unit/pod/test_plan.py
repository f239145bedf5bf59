import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.golden import assert_golden
from tests.support.manifests import SETTINGS, plan
from vmsandbox.errors import InvalidArgument
from vmsandbox.model import Device, ImageConfig, Mount
from vmsandbox.pod.api.volumes import PullPolicy
from vmsandbox.pod.plan.container_security import with_image_user
from vmsandbox.pod.plan.dns import hosts_file
from vmsandbox.pod.plan.pod_plan import PodPlan
from vmsandbox.pod.plan.volume_plan import File, Files
from vmsandbox.protocol.codec import encode
from vmsandbox.protocol.messages import Dns

CONFIG_MAP = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {LEVEL: debug, file.txt: "text\\n"}
binaryData: {blob: AAE=}
"""
SECRET = """\
apiVersion: v1
kind: Secret
metadata: {name: keys}
data: {password: c2VjcmV0, nul: AAE=, bytes: /w==}
stringData: {user: me}
"""
FULL = """\
restartPolicy: OnFailure
hostname: web
subdomain: pool
setHostnameAsFQDN: true
shareProcessNamespace: true
hostIPC: true
runtimeClassName: large
overhead: {memory: 64Mi, cpu: 250m}
dnsConfig: {nameservers: [192.0.2.9], searches: [example.org], options: [{name: ndots, value: "1"}]}
securityContext:
  runAsUser: 1000
  runAsGroup: 2000
  fsGroup: 3000
  supplementalGroups: [4000, 3000]
  supplementalGroupsPolicy: Strict
  seccompProfile: {type: RuntimeDefault}
  sysctls: [{name: net.core.somaxconn, value: "1024"}]
initContainers:
  - name: proxy
    image: localhost/proxy:1
    restartPolicy: Always
    resources: {limits: {cpu: 500m, memory: 32Mi}}
    ports: [{containerPort: 53, hostPort: 5353, protocol: UDP, hostIP: 127.0.0.1}]
containers:
  - name: main
    image: localhost/main:1
    command: [/bin/$(KIND), "$$(KIND)", "$(NOBODY)"]
    args: ["--level=$(APP_LEVEL)"]
    workingDir: /srv
    tty: true
    stdin: true
    stdinOnce: true
    envFrom:
      - {prefix: APP_, configMapRef: {name: settings}}
      - {secretRef: {name: none, optional: true}}
    env:
      - {name: KIND, value: server}
      - {name: USER_NAME, valueFrom: {secretKeyRef: {name: keys, key: user}}}
      - {name: BOTH, value: "$(USER_NAME)@$(KIND)"}
      - {name: ABSENT, valueFrom: {configMapKeyRef: {name: settings, key: none, optional: true}}}
      - {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
      - {name: APP, valueFrom: {fieldRef: {fieldPath: "metadata.labels['app']"}}}
      - {name: IPS, valueFrom: {fieldRef: {fieldPath: status.podIPs}}}
      - {name: MEMORY, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}}
      - {name: CPUS, valueFrom: {resourceFieldRef: {resource: requests.cpu, divisor: 1m}}}
    resources: {requests: {cpu: 250m}, limits: {cpu: "1.5", memory: 128Mi}}
    lifecycle: {stopSignal: SIGQUIT}
    securityContext:
      runAsUser: 1001
      readOnlyRootFilesystem: true
      allowPrivilegeEscalation: false
      capabilities: {add: [NET_ADMIN], drop: [ALL]}
      seccompProfile: {type: Localhost, localhostProfile: profiles/a.json}
      appArmorProfile: {type: RuntimeDefault}
"""


def golden(name: str, value: object) -> None:
    assert_golden(Path("tests/unit/golden/pod") / name, json.dumps(encode(value), indent=2) + "\n")


def error_of(spec: str, *more: str) -> str:
    with pytest.raises(InvalidArgument) as raised:
        plan(spec, *more)
    return str(raised.value)


def main_error(field: str) -> str:
    """The error of one container with this field, in flow style."""
    return error_of(f"containers: [{{name: a, image: b, {field}}}]")


def test_a_runtime_class_that_is_not_of_machines_is_an_error_before_anything_starts():
    said = error_of("{runtimeClassName: runc, containers: [{name: main, image: a}]}")
    assert "spec.runtimeClassName: there is no handler of machines of this name; there are: large" in said


def envs(planned: PodPlan) -> dict[str, str]:
    return planned.container(planned.spec.containers[0], planned.facts).envs


def test_the_plan_of_the_smallest_pod():
    planned = plan("containers: [{name: a, image: b}]")
    golden("plain-sandbox.json", planned.sandbox)
    golden("plain-container.json", planned.container(planned.spec.containers[0], planned.facts))


def test_the_plan_of_a_pod_with_everything():
    settings = replace(SETTINGS, dns=Dns(("192.0.2.1",), ("home",), ("ndots:5", "edns0")), log_directory="/logs")
    planned = plan(FULL, CONFIG_MAP, SECRET, settings=settings)
    facts = planned.facts.with_ips(("10.0.0.2", "fd00::2"))
    mounts = (Mount("/data", host_path="/volumes/data"),)
    golden("full-sandbox.json", planned.sandbox)
    golden("full-container.json", planned.container(planned.spec.containers[0], facts, mounts, attempt=2))
    golden("full-sidecar.json", planned.container(planned.spec.init_containers[0], facts))


DEVICES = """
containers:
  - {{name: a, image: b, volumeMounts: [{{name: d, mountPath: /d}}], volumeDevices: [{devices}]}}
volumes:
  - {{name: v, hostPath: {{path: /dev/vg/data, type: BlockDevice}}}}
  - {{name: f, hostPath: {{path: /srv/disk.img, type: File}}}}
  - {{name: d, hostPath: {{path: /srv}}}}
  - {{name: e, emptyDir: {{}}}}
"""


def test_block_devices_and_files_of_the_host_are_devices_of_a_container():
    planned = plan(DEVICES.format(devices="{name: v, devicePath: /dev/xvda}, {name: f, devicePath: /dev/xvdb}"))
    devices = planned.container(planned.spec.containers[0], planned.facts).devices
    assert devices == (Device("/dev/xvda", "/dev/vg/data", "rwm"), Device("/dev/xvdb", "/srv/disk.img", "rwm"))


@pytest.mark.parametrize(
    ("devices", "message"),
    [
        ("{name: e, devicePath: /dev/x}", "volumeDevices[0].name: volume 'e' is not a block device"),
        ("{name: d, devicePath: /dev/x}", "volumeDevices[0].name: volume 'd' is not a block device"),
        ("{name: v, devicePath: dev/x}", "volumeDevices[0].devicePath: the path of a device must be absolute"),
        ("{name: v, devicePath: /dev/../x}", "volumeDevices[0].devicePath: the path of a device must be absolute"),
        ("{name: v, devicePath: /d}", "volumeDevices[0].devicePath: a volume is mounted at this path"),
        ("{name: v, devicePath: /x}, {name: f, devicePath: /x}", "two of this devicePath"),
        ("{name: v, devicePath: /x}, {name: v, devicePath: /y}", "two of this name"),
        ("{name: v}", "volumeDevices[0].devicePath: this field is required"),
    ],
)
def test_a_device_that_cannot_be_is_named(devices, message):
    assert message in error_of(DEVICES.format(devices=devices))


def test_a_volume_is_a_device_or_mounted_in_a_container():
    spec = DEVICES.format(devices="{name: v, devicePath: /dev/x}").replace("name: d, mountPath", "name: v, mountPath")
    assert "the container also mounts this volume" in error_of(spec)


def test_a_pod_with_users_of_its_own_has_no_block_devices():
    spec = DEVICES.format(devices="{name: v, devicePath: /dev/x}") + "hostUsers: false"
    assert "volumeDevices: with hostUsers: false a pod has no block devices" in error_of(spec)


def test_a_privileged_container_makes_the_sandbox_privileged_and_has_no_masked_paths():
    planned = plan("containers: [{name: a, image: b, securityContext: {privileged: true}}]")
    security = planned.container(planned.spec.containers[0], planned.facts).security
    assert planned.sandbox.privileged
    assert (security.masked_paths, security.readonly_paths) == ((), ())


def test_a_pod_may_have_users_of_its_own():
    user = plan("containers: [{name: a, image: b}]\nhostUsers: false").sandbox.namespaces.user
    assert user is not None
    assert [(mapping.container_id, mapping.host_id, mapping.length) for mapping in user.uids] == [(0, 65536, 65536)]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("{valueFrom: {secretKeyRef: {name: none, key: a}}}", "there is no Secret 'none'"),
        ("{valueFrom: {secretKeyRef: {name: keys, key: a}}}", "Secret 'keys' has no key 'a'"),
        ("{valueFrom: {configMapKeyRef: {name: settings, key: blob}}}", "ConfigMap 'settings' has no key 'blob'"),
        ("{valueFrom: {fieldRef: {fieldPath: spec.nope}}}", "there is no field 'spec.nope'"),
        ("{valueFrom: {resourceFieldRef: {resource: limits.disk}}}", "'limits.disk' is not one of"),
        ("{valueFrom: {resourceFieldRef: {resource: limits.cpu, containerName: z}}}", "there is no container 'z'"),
        ("{valueFrom: {}}", "valueFrom needs exactly one source"),
        ("{value: a, valueFrom: {fieldRef: {fieldPath: metadata.name}}}", "not both"),
        ("{valueFrom: {fileKeyRef: {path: a}}}", "fileKeyRef: this field is not supported"),
        ("{valueFrom: {secretKeyRef: {name: keys, key: nul}}}", "a variable cannot hold a NUL"),
        ("{valueFrom: {secretKeyRef: {name: keys, key: bytes}}}", "bytes that are not UTF-8"),
    ],
)
def test_a_variable_that_refers_to_nothing_is_an_error_before_anything_starts(spec, message):
    variable = "{name: X, " + spec.removeprefix("{")
    assert message in error_of(f"containers: [{{name: a, image: b, env: [{variable}]}}]", CONFIG_MAP, SECRET)


def test_env_wins_over_env_from_and_later_over_earlier():
    spec = """
    containers:
      - name: a
        image: b
        envFrom: [{configMapRef: {name: settings}}, {configMapRef: {name: more}}]
        env: [{name: user, value: you}, {name: user, value: "$(user)!"}]
    """
    more = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: more}\ndata: {LEVEL: info, user: me}"
    assert envs(plan(spec, CONFIG_MAP, more)) == {
        "LEVEL": "info", "file.txt": "text\n", "user": "you!",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("image", "policy", "expected"),
    [
        ("busybox", None, PullPolicy.ALWAYS),
        ("busybox:latest", None, PullPolicy.ALWAYS),
        ("busybox:1", None, PullPolicy.IF_NOT_PRESENT),
        ("localhost:5000/busybox", None, PullPolicy.ALWAYS),
        (f"busybox@sha256:{'0' * 64}", None, PullPolicy.IF_NOT_PRESENT),
        ("busybox", "Never", PullPolicy.NEVER),
    ],
)
def test_the_default_of_image_pull_policy_depends_on_the_tag(image, policy, expected):
    policy = f", imagePullPolicy: {policy}" if policy else ""
    (planned,) = plan(f"containers: [{{name: a, image: '{image}'{policy}}}]").images
    assert planned.policy is expected


def test_an_image_that_one_container_always_pulls_is_pulled_once():
    spec = """
    containers:
      - {name: a, image: "b:1"}
      - {name: c, image: "b:1", imagePullPolicy: Always}
      - {name: d, image: "b:1", imagePullPolicy: Never}
    volumes: [{name: v, image: {reference: "e:1"}}]
    """
    assert [(image.name, image.policy.value) for image in plan(spec).images] == [
        ("b:1", "Always"),
        ("e:1", "IfNotPresent"),
    ]


def test_image_pull_secrets_give_the_credentials_of_the_longest_prefix():
    config = {
        "auths": {
            "https://index.docker.io/v1/": {"auth": "aHVi"},
            "reg.example": {"username": "u", "password": "p"},
            "reg.example/team": {"identitytoken": "t"},
        }
    }
    secret = f"""\
apiVersion: v1
kind: Secret
metadata: {{name: pull}}
type: kubernetes.io/dockerconfigjson
stringData: {{.dockerconfigjson: '{json.dumps(config)}'}}
"""
    spec = """
    imagePullSecrets: [{name: pull}]
    containers:
      - {name: a, image: "busybox:1"}
      - {name: b, image: "reg.example/x:1"}
      - {name: c, image: "reg.example/team/y:1"}
      - {name: d, image: "other.example/y:1"}
    """
    hub, plain, team, none = (image.auth for image in plan(spec, secret).images)
    assert hub is not None and hub.auth == "aHVi"
    assert plain is not None and (plain.username, plain.password) == ("u", "p")
    assert team is not None and team.identity_token == "t"
    assert none is None
    assert "holds no docker configuration" in error_of(spec, secret.replace("auths", "other"))
    assert "is of type" in error_of(spec, secret.replace("kubernetes.io/dockerconfigjson", "Opaque"))
    assert "there is no Secret 'pull'" in error_of(spec)


class TestResources:
    """The size of the machine: 1 CPU and 256 MiB if nothing is declared."""

    @pytest.mark.parametrize(
        ("init", "containers", "cpu", "memory"),
        [
            ([], [("1", "64Mi")], 1.0, 64),
            ([], [("500m", "64Mi"), ("1500m", "64Mi")], 2.0, 128),
            ([("4", "512Mi")], [("1", "64Mi")], 4.0, 512),
            ([("+1", "32Mi"), ("4", "512Mi")], [("1", "64Mi")], 5.0, 544),
            ([("4", "512Mi"), ("+1", "32Mi")], [("1", "64Mi")], 4.0, 512),
            ([("+1", "32Mi")], [("1", "64Mi")], 2.0, 96),
            ([], [("1", "64Mi"), ("", "")], 2.0, 320),
        ],
        ids=["one", "sum", "init", "sidecar before", "sidecar after", "sidecar", "one without limits"],
    )
    def test_the_machine_is_what_runs_at_the_same_time(self, init, containers, cpu, memory):
        def written(index: int, cpu: str, memory: str) -> str:
            limits = f", resources: {{limits: {{cpu: {cpu.lstrip('+')}, memory: {memory}}}}}" if memory else ""
            policy = ", restartPolicy: Always" if cpu.startswith("+") else ""
            return f"{{name: c{index}, image: b{limits}{policy}}}"

        inits = ", ".join(written(index, *given) for index, given in enumerate(init))
        mains = ", ".join(written(index + 10, *given) for index, given in enumerate(containers))
        resources = plan(f"initContainers: [{inits}]\ncontainers: [{mains}]").sandbox.resources
        assert resources.cpu_quota / resources.cpu_period == cpu
        assert resources.memory_limit == memory << 20

    def test_the_pods_own_limits_count(self):
        resources = plan(
            "containers: [{name: a, image: b}]\nresources: {limits: {cpu: 3, memory: 1Gi}}"
        ).sandbox.resources
        assert (resources.cpu_quota, resources.memory_limit) == (300_000, 1 << 30)

    def test_a_request_beyond_the_default_machine_counts(self):
        assert plan(requests("memory: 2Gi")).sandbox.resources.memory_limit == 2 << 30

    @pytest.mark.parametrize(
        ("resources", "score"),
        [
            ("{}", 1000),
            ("{limits: {cpu: 1, memory: 64Mi}}", -997),
            ("{limits: {cpu: 1, memory: 64Mi}, requests: {cpu: 1, memory: 32Mi}}", 500),
            ("{requests: {memory: 64Mi}}", 750),
            ("{requests: {cpu: 1}}", 999),
        ],
    )
    def test_who_is_killed_first_when_memory_is_short(self, resources, score):
        planned = plan(f"containers: [{{name: a, image: b, resources: {resources}}}]")
        assert planned.container(planned.spec.containers[0], planned.facts).resources.oom_score_adj == score


def requests(resources: str) -> str:
    return f"containers: [{{name: a, image: b, resources: {{requests: {{{resources}}}}}}}]"


@pytest.mark.parametrize(
    ("image_user", "user", "name"),
    [("", 0, ""), ("5", 5, ""), ("5:6", 5, ""), ("www", None, "www"), ("www:6", None, "www")],
)
def test_a_group_without_a_user_is_the_group_of_the_images_user(image_user, user, name):
    planned = plan("containers: [{name: a, image: b}]\nsecurityContext: {runAsGroup: 7}")
    security = planned.container(planned.spec.containers[0], planned.facts).security
    chosen = with_image_user(security, ImageConfig(user=image_user))
    assert (chosen.run_as_user, chosen.run_as_username, chosen.run_as_group) == (user, name, 7)


class TestNames:
    @pytest.mark.parametrize(
        ("more", "hostname"),
        [
            ("", "p"),
            ("hostname: web", "web"),
            ("subdomain: pool", "p"),
            ("subdomain: pool\nsetHostnameAsFQDN: true", "p.pool.default.svc.cluster.local"),
            ("hostnameOverride: some.name", "some.name"),
        ],
    )
    def test_the_hostname(self, more, hostname):
        assert plan(f"containers: [{{name: a, image: b}}]\n{more}").sandbox.hostname == hostname

    def test_a_full_name_that_the_kernel_does_not_take_is_refused(self):
        spec = f"containers: [{{name: a, image: b}}]\nsubdomain: {'x' * 50}\nsetHostnameAsFQDN: true"
        assert "spec.setHostnameAsFQDN" in error_of(spec)

    def test_without_a_resolver_configuration_the_network_decides(self):
        assert plan("containers: [{name: a, image: b}]").sandbox.dns is None

    def test_dns_policy_none_takes_nothing_from_the_host(self):
        settings = replace(SETTINGS, dns=Dns(("192.0.2.1",), ("home",)))
        spec = "containers: [{name: a, image: b}]\ndnsPolicy: None\ndnsConfig: {nameservers: [192.0.2.2]}"
        assert plan(spec, settings=settings).sandbox.dns == Dns(("192.0.2.2",))
        assert "spec.dnsConfig" in error_of("containers: [{name: a, image: b}]\ndnsPolicy: None")

    def test_the_hosts_file_of_a_pod_without_aliases_is_the_usual_one(self):
        assert hosts_file(plan("containers: [{name: a, image: b}]").facts) == ""

    def test_the_hosts_file_has_the_full_name_first(self):
        facts = plan("containers: [{name: a, image: b}]\nsubdomain: pool").facts.with_ips(("10.0.0.2",))
        assert hosts_file(facts).splitlines()[-1] == "10.0.0.2\tp.pool.default.svc.cluster.local\tp"

    def test_the_name_of_a_pod_without_a_network_is_localhosts(self):
        facts = plan("containers: [{name: a, image: b}]\nhostAliases: [{ip: 10.0.0.9, hostnames: [db]}]").facts
        assert hosts_file(facts).splitlines()[-2:] == ["127.0.0.1\tp", "10.0.0.9\tdb"]


class TestVolumes:
    def files(self, volume: str, *more: str) -> dict[str, File]:
        planned = plan(f"containers: [{{name: a, image: b}}]\nvolumes: [{{name: v, {volume}}}]", *more)
        volume = planned.volumes["v"]
        assert isinstance(volume, Files)
        return volume.files

    def error(self, volume: str) -> str:
        with pytest.raises(InvalidArgument) as raised:
            self.files(volume, CONFIG_MAP, SECRET)
        return str(raised.value)

    def test_a_config_map_is_a_file_for_every_key(self):
        assert self.files("configMap: {name: settings}", CONFIG_MAP) == {
            "LEVEL": File(b"debug", 0o644), "file.txt": File(b"text\n", 0o644),
            "blob": File(b"\0\1", 0o644),
        }  # fmt: skip

    def test_items_choose_name_and_mode(self):
        found = self.files(
            "secret: {secretName: keys, defaultMode: 0400, items: [{key: user, path: a/b}, "
            "{key: password, path: c, mode: 256}]}",
            SECRET,
        )
        assert found == {"a/b": File(b"me", 0o400), "c": File(b"secret", 0o400)}

    def test_what_is_optional_may_be_missing(self):
        assert self.files("configMap: {name: none, optional: true}") == {}
        assert self.files("secret: {secretName: keys, optional: true, items: [{key: x, path: y}]}", SECRET) == {}

    def test_a_projected_volume_holds_all_its_sources(self):
        volume = """projected: {defaultMode: 288, sources: [
            {configMap: {name: settings, items: [{key: LEVEL, path: level}]}},
            {secret: {name: keys, items: [{key: user, path: me}]}},
            {downwardAPI: {items: [
                {path: labels, fieldRef: {fieldPath: metadata.labels}},
                {path: notes, fieldRef: {fieldPath: metadata.annotations}},
                {path: limit, resourceFieldRef: {containerName: a, resource: limits.memory, divisor: 1Mi}}]}}]}"""
        found = self.files(volume.replace("\n", " "), CONFIG_MAP, SECRET)
        assert {name: file.content for name, file in found.items()} == {
            "level": b"debug", "me": b"me", "labels": b'app="web"', "notes": b'note="a \\"b\\""', "limit": b"256",
        }  # fmt: skip
        assert {file.mode for file in found.values()} == {0o440}

    @pytest.mark.parametrize(
        ("volume", "message"),
        [
            ("configMap: {name: none}", "there is no ConfigMap 'none'"),
            ("configMap: {name: settings, items: [{key: none, path: x}]}", "there is no key 'none'"),
            ("configMap: {name: settings, items: [{key: LEVEL, path: ../x}]}", "is not a path below the volume"),
            ("configMap: {name: settings, items: [{key: LEVEL, path: /x}]}", "is not a path below the volume"),
            ("configMap: {name: settings, items: [{key: LEVEL, path: ..x}]}", "is not a path below the volume"),
            ("configMap: {name: settings, defaultMode: 4095}", "a mode is between 0 and 0777"),
            (
                "configMap: {name: settings, items: [{key: LEVEL, path: x}, {key: LEVEL, path: x/y}]}",
                "'x' is a file, and cannot hold 'x/y'",
            ),
            ("projected: {sources: [{}]}", "a projection needs exactly one source"),
            ("projected: {sources: [{serviceAccountToken: {path: t}}]}", "serviceAccountToken: this field is not supp"),
            ("downwardAPI: {items: [{path: x, fieldRef: {fieldPath: status.podIP}}]}", "there is no field"),
            ("downwardAPI: {items: [{path: x, resourceFieldRef: {resource: limits.cpu}}]}", "there is no container ''"),
            ("emptyDir: {}, hostPath: {path: /x}", "a volume needs exactly one source"),
            ("emptyDir: {sizeLimit: -1}", "sizeLimit: it cannot be negative"),
            ("hostPath: {path: var/run}", "a path of the host is absolute"),
            ("hostPath: {path: /var/../etc}", "a path of the host is absolute, without .."),
            ("emptyDir: {medium: HugePages}", "'HugePages' is not one of '', 'Memory'"),
        ],
    )
    def test_a_volume_that_cannot_be_is_an_error(self, volume, message):
        assert message in self.error(volume)


class TestChecks:
    @pytest.mark.parametrize(
        ("field", "message"),
        [
            ("resources: {limits: {ephemeral-storage: 1Gi}}", "share a scratch disk, whose size is scratch_size in"),
            ("resources: {limits: {nvidia.com/gpu: 1}}", "limits['nvidia.com/gpu']: this resource is not supported"),
            ("resources: {limits: {memory: 1Mi}, requests: {memory: 2Mi}}", "it is larger than the limit"),
            ("resources: {limits: {memory: -1}}", "it cannot be negative"),
            (
                "resources: {limits: {memory: 8Pi}}",
                "spec.containers[0].resources: memory_limit_in_bytes 9007199254740992",
            ),
            ("resources: {limits: {cpu: 1G}}", "containers[0].resources: cpu_quota 100000000000000 is not valid"),
            ("resources: {limits: {memory: lots}}", "'lots' is not a quantity"),
            ("ports: [{containerPort: 0}]", "0 is not a port"),
            ("ports: [{containerPort: 1, hostPort: 70000}]", "70000 is not a port"),
            ("ports: [{containerPort: 1, hostPort: 5}, {containerPort: 2, hostPort: 5}]", "two of this hostPort"),
            ("volumeMounts: [{name: v, mountPath: /x}]", "the pod has no volume 'v'"),
            ("volumeDevices: [{name: v, devicePath: /dev/x}]", "the pod has no volume 'v'"),
            ("securityContext: {runAsUser: -1}", "runAsUser: -1 is not a user or group id"),
            ("securityContext: {privileged: true, allowPrivilegeEscalation: false}", "can always escalate"),
            (
                "securityContext: {seccompProfile: {type: Localhost}}",
                "seccompProfile: a security profile has",
            ),
            ("securityContext: {seccompProfile: {type: Localhost, localhostProfile: ../x}}", "a path below"),
            (
                "securityContext: {seccompProfile: {type: Unconfined, localhostProfile: x}}",
                "seccompProfile: a security profile has a path",
            ),
            (
                "securityContext: {appArmorProfile: {type: Localhost, localhostProfile: x}}",
                "profile x does not exist in the machine",
            ),
            ("restartPolicy: Never", "containers restart by the pod's restartPolicy"),
            ("lifecycle: {preStop: {}}", "a hook needs exactly one action"),
            ("livenessProbe: {}", "a probe needs exactly one action"),
            ("livenessProbe: {exec: {command: [a]}, periodSeconds: 0}", "periodSeconds: it is at least 1"),
            ("livenessProbe: {tcpSocket: {port: web}}", "the container has no port 'web'"),
            ("livenessProbe: {httpGet: {port: 1, path: 'a b'}}", "a request cannot have"),
            (
                "livenessProbe: {httpGet: {port: 1, httpHeaders: [{name: 'a b', value: x}]}}",
                "is not the name of a header",
            ),
            ('livenessProbe: {httpGet: {port: 1, httpHeaders: [{name: a, value: "x\\ny"}]}}', "a header cannot have"),
        ],
    )
    def test_a_container_that_cannot_be_is_an_error(self, field, message):
        assert message in main_error(field)

    def test_a_rule_that_the_pods_own_context_breaks_is_an_error_there(self):
        spec = "containers: [{name: a, image: b}]\nsecurityContext:\n  seccompProfile: {type: Localhost}"
        assert error_of(spec).startswith("pod.yaml:7: spec.securityContext.seccompProfile: a security profile")

    def test_an_image_without_a_proper_name_is_an_error(self):
        message = error_of("containers: [{name: a, image: B/x y}]")
        assert message.endswith("spec.containers[0].image: 'B/x y' is not the name of an image")

    @pytest.mark.parametrize(
        ("mount", "message"),
        [
            ("mountPath: x", "volumeMounts[0].mountPath: the mount path 'x' is not absolute"),
            ("mountPath: /a/../b", "mountPath: a mount path must be without .."),
            ("mountPath: /x, subPath: ../y", "subPath: it must be a path below the volume"),
            ("mountPath: /x, subPath: /y", "subPath: it must be a path below the volume"),
            ("mountPath: /x, subPath: a, subPathExpr: b", "exclude each other"),
            ("mountPath: /x, mountPropagation: Bidirectional", "needs a privileged container"),
            ("mountPath: /x, recursiveReadOnly: Enabled", "recursiveReadOnly: the mount at /x is recursive_read_only"),
            (
                "mountPath: /x, readOnly: true, recursiveReadOnly: Enabled, mountPropagation: HostToContainer",
                "volumeMounts[0].recursiveReadOnly: the mount at /x",
            ),
        ],
    )
    def test_a_mount_that_cannot_be_is_an_error(self, mount, message):
        container = f"{{name: a, image: b, volumeMounts: [{{name: v, {mount}}}]}}"
        assert message in error_of(f"containers: [{container}]\nvolumes: [{{name: v, emptyDir: {{}}}}]")

    @pytest.mark.parametrize(
        ("field", "message"),
        [
            ("subPathExpr: $(NONE)", "subPathExpr: there is no variable 'NONE'"),
            ("subPathExpr: $(UP)/x", "subPathExpr: '../x' is not a path below the volume"),
            ("subPathExpr: $(KEY)x", "subPathExpr: there is no 'LEVELx' in the volume"),
            ("subPath: none", "subPath: there is no 'none' in the volume"),
            ("subPath: LEVEL/x", "subPath: there is no 'LEVEL/x' in the volume"),
        ],
    )
    def test_a_sub_path_that_cannot_be_is_an_error_before_anything_starts(self, field, message):
        spec = f"""
        containers:
          - name: a
            image: b
            env: [{{name: UP, value: ..}}, {{name: KEY, value: LEVEL}}]
            volumeMounts: [{{name: v, mountPath: /v, {field}}}]
        volumes: [{{name: v, configMap: {{name: settings}}}}]
        """
        assert message in error_of(spec, CONFIG_MAP)

    def test_sub_paths_that_are_there_are_accepted(self):
        spec = """
        containers:
          - name: a
            image: b
            volumeMounts: [{name: v, mountPath: /v, subPath: d}, {name: v, mountPath: /w, subPath: ./d//e}]
        volumes: [{name: v, configMap: {name: settings, items: [{key: LEVEL, path: d/e}]}}]
        """
        plan(spec, CONFIG_MAP)

    @pytest.mark.parametrize(
        ("spec", "message"),
        [
            ("overhead: {memory: -1Gi}", "pod.yaml:6: spec.overhead: memory_limit_in_bytes -1073741824"),
            ("hostNetwork: true", "spec.hostNetwork: a virtual machine cannot have the host's network"),
            ("hostUsers: false\nhostIPC: true", "pod.yaml:6: spec.hostUsers: a pod with a user namespace cannot share"),
            ("hostPID: true\nshareProcessNamespace: true", "exclude each other"),
            ("os: {name: windows}", "pods are Linux machines"),
            ("activeDeadlineSeconds: 0", "it has to be positive"),
            ("terminationGracePeriodSeconds: -1", "it cannot be negative"),
            ("hostname: A_b", "spec.hostname: 'A_b' is not a valid name"),
            ("dnsConfig: {nameservers: [1.1.1.1, 1.1.1.2, 1.1.1.3, 1.1.1.4]}", "a resolver takes 3 name servers"),
            ("volumes: [{name: v, emptyDir: {}}, {name: v, emptyDir: {}}]", "there are two of this volume"),
            ("initContainers: [{name: a, image: b}]", "there are two of this container"),
            ("initContainers: [{name: i, image: b, restartPolicy: Never}]", "restartPolicy Always, or none"),
            ("initContainers: [{name: i, image: b, lifecycle: {postStart: {sleep: {seconds: 1}}}}]", "sidecar"),
            ("securityContext: {sysctls: [{name: 'a b', value: x}]}", "is not a valid name"),
        ],
    )
    def test_a_pod_that_cannot_be_is_an_error(self, spec, message):
        assert message in error_of(f"containers: [{{name: a, image: b}}]\n{spec}")

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ("kind: ConfigMap\ndata: {a/b: c}", "data['a/b']: a key may contain letters"),
            ("kind: ConfigMap\ndata: {..: c}", "data['..']: a key may contain letters"),
            ("kind: ConfigMap\ndata: {a: c}\nbinaryData: {a: AA==}", "binaryData.a: this key is also in data"),
            ("kind: Secret\nstringData: {'': c}", "stringData['']: a key may contain letters"),
        ],
    )
    def test_an_object_that_cannot_be_is_an_error(self, fields, message):
        text = f"apiVersion: v1\nmetadata: {{name: c}}\n{fields}"
        assert message in error_of("containers: [{name: a, image: b}]", text)

    def test_a_pod_without_containers_is_an_error(self):
        assert error_of("containers: []").endswith("spec.containers: a pod needs at least one container")
