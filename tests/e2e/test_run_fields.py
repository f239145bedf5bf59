"""`vmsandbox run`: what the fields of a manifest do in a real machine, one pod for as many as it can show."""

import os
import textwrap
from pathlib import Path

import pytest
import yaml

from tests.standins.images import BUSYBOX
from tests.support.pods import Finished, Node

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="machines and their networks need root"),
    pytest.mark.timeout(300),
    pytest.mark.usefixtures("nothing_is_left_of_pods"),
]


def run(node: Node, text: str) -> Finished:
    documents = textwrap.dedent(text).replace("IMAGE", BUSYBOX)
    return node.run(*yaml.safe_load_all(documents))


EVERYTHING = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {level: debug, file.conf: "from the map"}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {password: "s3cret"}
---
apiVersion: v1
kind: Pod
metadata: {name: fields, labels: {app: web}, annotations: {note: hi}}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 5
  hostname: named
  shareProcessNamespace: true
  hostAliases: [{ip: 192.0.2.7, hostnames: [db.internal]}]
  dnsPolicy: None
  dnsConfig: {nameservers: [192.0.2.53], searches: [example.org], options: [{name: ndots, value: "3"}]}
  securityContext:
    fsGroup: 3000
    supplementalGroups: [4000]
    sysctls: [{name: net.ipv4.ip_local_port_range, value: "2000 2999"}]
    seccompProfile: {type: RuntimeDefault}
  volumes:
    - {name: disk, emptyDir: {}}
    - {name: memory, emptyDir: {medium: Memory, sizeLimit: 4Mi}}
    - {name: files, configMap: {name: settings, defaultMode: 0440}}
    - {name: keys, secret: {secretName: keys}}
    - {name: info, downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}
    - {name: image, image: {reference: IMAGE}}
    - {name: block, hostPath: {path: BLOCK, type: File}}
  initContainers:
    - name: sidecar
      image: IMAGE
      restartPolicy: Always
      command: [sh, -c, "httpd -p 8080 -h /; trap 'echo bye; exit 0' TERM; while true; do sleep 1; done"]
      ports: [{name: web, containerPort: 8080}]
      startupProbe: {httpGet: {port: web, path: /etc/passwd}, periodSeconds: 1, timeoutSeconds: 5, failureThreshold: 30}
      livenessProbe: {tcpSocket: {port: web}, periodSeconds: 1, timeoutSeconds: 5}
      lifecycle:
        postStart: {exec: {command: [sh, -c, "echo begun >/memory/hook"]}}
        preStop: {exec: {command: [sh, -c, "grep begun /memory/hook && touch /memory/stopped"]}}
      volumeMounts: [{name: memory, mountPath: /memory}]
  containers:
    - name: main
      image: IMAGE
      command: [sh, -c]
      args:
        - |
          ok() { test "$2" = "$3" && echo "ok $1" || echo "FAILED $1: $2 instead of $3"; }
          ok fieldRef "$POD_NAME/$APP" fields/web
          ok podIP "$POD_IP" "$(hostname -i)"
          ok expansion "$(GREETING)" "hello debug"
          ok secretKeyRef "$PASSWORD" s3cret
          ok resourceFieldRef "$LIMIT" 48
          ok hostname "$(hostname)" named
          ok hostAliases "$(grep db.internal /etc/hosts | cut -f1)" 192.0.2.7
          ok dnsConfig "$(grep -v '^#' /etc/resolv.conf | sort | tr '\\n' ' ')" \
            "nameserver 192.0.2.53 options ndots:3 search example.org "
          ok user "$(id -u):$(id -g)" 1000:2000
          ok groups "$(id -G)" "2000 3000 4000"
          ok sysctls "$(tr '\\t' ' ' </proc/sys/net/ipv4/ip_local_port_range)" "2000 2999"
          ok noNewPrivs "$(grep NoNewPrivs /proc/self/status | cut -f2)" 1
          ok seccomp "$(grep -w Seccomp: /proc/self/status | cut -f2)" 2
          ok capabilities "$(grep CapBnd /proc/self/status | cut -f2)" 0000000000000400
          ok readOnlyRoot "$(touch /x 2>&1 | grep -o 'Read-only')" Read-only
          ok subPath "$(cat /etc/file.conf)" "from the map"
          ok configMap "$(stat -L -c %a:%g /files/level)" 440:3000
          ok configMapIsReadOnly "$(touch /files/x 2>&1 | grep -o 'Read-only')" Read-only
          ok secret "$(cat /keys/password)" s3cret
          ok downwardAPI "$(cat /info/labels)" 'app="web"'
          ok fsGroup "$(stat -c %a:%g /disk)" 2777:3000
          ok subPathExpr "$(touch /logs/x && ls /disk/fields)" x
          ok memory "$(df -P /memory | awk 'NR==2 {print $2}')" 4096
          ok sharedMemory "$(touch /memory/main && ls /memory/main)" /memory/main
          ok imageVolume "$(test -e /image/bin/busybox && echo there)" there
          ok volumeDevices "$(head -n1 /dev/xvda; echo written >/dev/xvda)" "of the host"
          ok deviceOwner "$(stat -c '%F %a %u:%g' /dev/xvda)" "block special file 660 0:2000"
          ok sharedProcesses "$(ps | grep -c '[w]hile true')" 1
          echo finished >/dev/termination-log
          exit 7
      terminationMessagePolicy: File
      env:
        - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        - {name: APP, valueFrom: {fieldRef: {fieldPath: "metadata.labels['app']"}}}
        - {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
        - {name: LEVEL, valueFrom: {configMapKeyRef: {name: settings, key: level}}}
        - {name: GREETING, value: "hello $(LEVEL)"}
        - {name: PASSWORD, valueFrom: {secretKeyRef: {name: keys, key: password}}}
        - {name: LIMIT, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}}
      resources: {limits: {memory: 48Mi}}
      securityContext:
        runAsUser: 1000
        runAsGroup: 2000
        readOnlyRootFilesystem: true
        allowPrivilegeEscalation: false
        capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}
      volumeMounts:
        - {name: disk, mountPath: /disk}
        - {name: disk, mountPath: /logs, subPathExpr: $(POD_NAME)}
        - {name: memory, mountPath: /memory}
        - {name: files, mountPath: /files}
        - {name: files, mountPath: /etc/file.conf, subPath: file.conf}
        - {name: keys, mountPath: /keys}
        - {name: info, mountPath: /info}
        - {name: image, mountPath: /image}
      volumeDevices: [{name: block, devicePath: /dev/xvda}]
"""


def test_the_fields_of_a_manifest_do_what_they_say(node: Node, tmp_path: Path) -> None:
    block = tmp_path / "disk.img"
    block.write_bytes(b"of the host\n".ljust(1024 * 1024, b"\0"))
    os.chown(block, 0, 2000)
    block.chmod(0o660)
    ran = run(node, EVERYTHING.replace("BLOCK", str(block)))
    failed = [line for line in ran.stdout.splitlines() if "FAILED" in line]
    assert failed == [], ran.stdout + ran.stderr
    assert ran.stdout.count("ok ") == EVERYTHING.count("\n          ok "), ran.stdout + ran.stderr
    assert ran.status == 7
    assert "finished" in ran.stderr
    assert "bye" in ran.stdout
    assert block.read_bytes().startswith(b"written\n")


def test_a_deadline_ends_a_pod_whose_containers_are_restarted(node: Node) -> None:
    ran = run(
        node,
        """
        apiVersion: v1
        kind: Pod
        metadata: {name: deadline}
        spec:
          restartPolicy: Always
          activeDeadlineSeconds: 5
          terminationGracePeriodSeconds: 1
          containers: [{name: quick, image: IMAGE, command: [sh, -c, "echo again"]}]
        """,
    )
    assert ran.status == 124, ran.stderr
    assert ran.stdout.count("again") == 2  # at once, and then not within ten seconds
    assert "DeadlineExceeded" in ran.stderr
