"""The translation of skopeo's messages; they are skopeo's own, from real failures."""

import errno

import pytest

from vmsandbox.errors import (
    FailedPrecondition,
    Internal,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unavailable,
    Unimplemented,
    VmsandboxError,
)
from vmsandbox.images.disk_errors import error_of_disk
from vmsandbox.images.skopeo.diagnosis import diagnose, message_of


def fatal(message: str) -> str:
    escaped = message.replace("\\", "\\\\").replace('"', '\\"')
    start = 'time="2026-01-01T00:00:00Z" '
    return f'{start}level=warning msg="before"\n{start}level=fatal msg="{escaped}"\n'


GET = 'Get "https://r/v2/": '
REGISTRY = "pinging container registry r:5000: "
CASES: list[tuple[str, type[VmsandboxError], str]] = [
    ('reading manifest 1 in r:5000/x: manifest unknown: manifest unknown', NotFound, "no such image"),
    ('reading manifest latest in r:5000/x: name unknown: repository name not known to registry', NotFound, "no such"),
    ('requested access to the resource is denied', PermissionDenied, "refused the credentials"),
    ('unable to retrieve auth token: invalid username/password: unauthorized: authentication required',
     PermissionDenied, "refused the credentials"),
    ('reading manifest 1 in r:5000/x: unauthorized: authentication required', PermissionDenied, "refused"),
    (REGISTRY + GET + 'dial tcp 127.0.0.1:5000: connect: connection refused', Unavailable, "be reached"),
    (REGISTRY + GET + 'dial tcp: lookup r: no such host', Unavailable, "cannot be reached"),
    (REGISTRY + GET + 'dial tcp: lookup r on 1.2.3.4:53: server misbehaving', Unavailable, "be reached"),
    (REGISTRY + GET + 'net/http: TLS handshake timeout', Unavailable, "cannot be reached"),
    (REGISTRY + GET + 'http: server gave HTTP response to HTTPS client', Unavailable, "does not speak TLS"),
    (REGISTRY + GET + 'x509: certificate signed by unknown authority', Unavailable, "not trusted"),
    (REGISTRY + "received unexpected HTTP status: 503 Service Unavailable", Unavailable, "cannot be reached"),
    ("fetching blob: received unexpected status code 500", Unavailable, "cannot be reached"),
    ("reading manifest 1 in r/x: toomanyrequests: You have reached your pull rate limit", Unavailable, "limits"),
    ("reading blob sha256:aa: Digest did not match, expected sha256:aa, got sha256:bb", Internal, "does not match"),
    ("writing blob: happened during read: digest did not match", Internal, "does not match"),
    ("writing blob: write /x/oci-put-blob1: file too large", Internal, "sends more"),
    ("writing blob: write /x/oci-put-blob1: no space left on device", ResourceExhausted, "disk is full"),
    ("Source image rejected: Running image docker://r/x is rejected by policy.", PermissionDenied, "policy"),
    ("loading registries configuration \"/x/registries.conf\": toml: line 2", FailedPrecondition, "registries conf"),
    ("registry r is blocked in /etc/containers/registries.conf or /etc/x", PermissionDenied, "blocks this registry"),
    ("loading trust policy: open /x/policy.json: no such file or directory", FailedPrecondition, "image policy"),
    ("unsupported MIME type for compression: application/x", Unimplemented, "is not supported"),
    ("something that nobody has seen yet", Internal, "skopeo failed"),
]  # fmt: skip


@pytest.mark.parametrize(("message", "kind", "told"), CASES)
def test_a_failure_has_its_class_words_and_evidence(message: str, kind: type[VmsandboxError], told: str) -> None:
    error = diagnose(fatal(message))
    assert type(error) is kind
    assert told in error.message
    assert error.evidence == {"skopeo": message}
    assert error.hint or kind is Internal


def test_of_a_pull_through_mirrors_the_registrys_own_word_counts() -> None:
    mirrors = "(Mirrors also failed: [mirror/x:1: pinging container registry mirror: connection refused]): "
    assert type(diagnose(fatal(f"initializing source: {mirrors}r/x:1: manifest unknown"))) is NotFound


@pytest.mark.parametrize(
    ("stderr", "message"),
    [
        (fatal('a "quoted" word'), 'a "quoted" word'),
        (fatal("first") + fatal("last"), "last"),
        ("panic: no log line", "panic: no log line"),
        ('level=fatal msg="bad \\x escape"', '"bad \\x escape"'),
        ("", ""),
    ],
)
def test_the_message_is_skopeos_last_word(stderr: str, message: str) -> None:
    assert message_of(stderr) == message


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_without_room_is_full(number: int) -> None:
    error = error_of_disk(OSError(number, "text"))
    assert type(error) is ResourceExhausted and "image remove" in error.hint


def test_any_other_answer_of_the_disk_is_shown() -> None:
    assert "Read-only file system" in str(error_of_disk(OSError(errno.EROFS, "Read-only file system")))
