"""Translate the error messages of skopeo into our errors.

skopeo tells failures apart in text only, so one table of patterns is unavoidable; it is here, and the tests hold
it against the real program. Only the last line counts; of a pull through mirrors, what the registry itself said.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

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
from vmsandbox.images.disk_errors import NO_SPACE_HINT


@dataclass(frozen=True, slots=True)
class _Case:
    pattern: re.Pattern[str]
    kind: type[VmsandboxError]
    summary: str
    hint: str


def _case(pattern: str, kind: type[VmsandboxError], summary: str, hint: str) -> _Case:
    return _Case(re.compile(pattern, re.IGNORECASE), kind, summary, hint)


_CASES = (
    _case(r"file too large", Internal,
          "the registry sends more than the manifest says", "the registry is damaged; push the image again"),
    _case(r"\b(?:open|openat|stat|lstat|mkdir|rename|readdirent|unlinkat) /\S+.*: permission denied",
          FailedPrecondition, "skopeo, which has a user of its own (`images.user`), may not open a file",
          "make directories above the image store passable (chmod o+x), and files in registries.conf.d readable"),
    _case(r"no space left on device|disk quota exceeded", ResourceExhausted,
          "the disk is full", NO_SPACE_HINT),
    _case(r"loading registries configuration|unmarshaling registries", FailedPrecondition,
          "the registries configuration cannot be read", "see containers-registries.conf(5)"),
    _case(r"loading trust policy|policy\.json|invalid policy", FailedPrecondition,
          "the image policy cannot be read", "see containers-policy.json(5)"),
    _case(r"is blocked in ", PermissionDenied,
          "the registries configuration blocks this registry", "see containers-registries.conf(5)"),
    _case(r"rejected by policy|source image rejected|signature was required", PermissionDenied,
          "the image policy does not allow this image", "see containers-policy.json(5)"),
    _case(r"digest did not match|does not match provided manifest digest|manifest digest mismatch", Internal,
          "the registry sent content that does not match the digest", "the registry is damaged; push the image again"),
    _case(r"server gave HTTP response to HTTPS client", Unavailable,
          "the registry does not speak TLS", "mark it `insecure = true` in the registries configuration"),
    _case(r"x509: |tls: |certificate signed by", Unavailable,
          "the registry's certificate is not trusted", "put its CA into /etc/containers/certs.d/REGISTRY/ca.crt"),
    _case(r"toomanyrequests: |too many requests|status code.* 429", Unavailable,
          "the registry limits the rate of requests", "wait, or pull with credentials or from a mirror"),
    _case(r"unauthorized: |denied: |authentication required|invalid username/password|unable to retrieve auth token"
          r"|access to the resource is denied|status code.* 40[13]\b", PermissionDenied,
          "the registry refused the credentials, or requires some", "check the image's name and the credentials"),
    _case(r"manifest unknown|name unknown|repository name not known|status code.* 404\b|no such image"
          r"|reference .* not found|no such file or directory", NotFound,
          "there is no such image", "check its name and tag"),
    _case(r"connection refused|no such host|server misbehaving|i/o timeout|no route to host|network is unreachable"
          r"|connection reset|connection timed out|unexpected EOF|\bEOF$|handshake timeout|deadline exceeded"
          r"|pinging container registry|status code.* 5\d\d|broken pipe", Unavailable,
          "the registry cannot be reached", "check the network, its proxy settings, and the registry's address"),
    _case(r"unsupported|unknown media type|unrecognized", Unimplemented,
          "the format of the image is not supported", "push it again as an OCI image"),
)  # fmt: skip

_MIRRORS = re.compile(r"\(Mirrors also failed: .*\]\): ", re.DOTALL)
_URL_SECRETS = re.compile(r"(?<=://)[^/\s\"@]+@|(?<=\?)[^\s\"]+|(?<=Bearer )\S+|(?<=Basic )\S+")
_MESSAGE = re.compile(r'level=fatal msg=("(?:[^"\\]|\\.)*")')


def diagnose(stderr: str, secrets: Iterable[str] = ()) -> VmsandboxError:
    """The error for what skopeo printed.

    Args:
        stderr: all that it printed there.
        secrets: strings to hide.
    """
    shown = scrub(stderr, secrets)
    said = message_of(shown)
    own = _MIRRORS.sub("", said)
    evidence = {"skopeo": said}
    for case in _CASES:
        if case.pattern.search(own):
            return case.kind(case.summary, hint=case.hint, evidence=evidence)
    return Internal("skopeo failed", evidence=evidence)


def message_of(stderr: str) -> str:
    """The text of skopeo's last word, out of its log line; all of stderr where there is no such line."""
    found = _MESSAGE.findall(stderr)
    if not found:
        return stderr.strip()
    try:
        return str(json.loads(found[-1], strict=False))
    except ValueError:
        return str(found[-1])


def scrub(text: str, secrets: Iterable[str] = ()) -> str:
    """The text without the secrets, users in URLs, query strings (signed URLs) and authorization headers."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return _URL_SECRETS.sub("***", text)
