"""Names of images: what a person or the kubelet writes, and the full name it stands for.

The grammar and the defaults are those of the distribution project's `reference` package, which containerd and
docker use: `busybox` is docker.io/library/busybox:latest; where there are a tag and a digest, the digest counts.
"""

import re
from dataclasses import dataclass

from vmsandbox.errors import InvalidArgument

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")

_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_REGISTRY = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?")
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}")
_NAME_LENGTH = 255


@dataclass(frozen=True, slots=True)
class Reference:
    """The full name of an image: a repository, and either a tag or a digest within it."""

    registry: str
    """Host and port, e.g. docker.io or 127.0.0.1:5000."""
    repository: str
    tag: str = ""
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> "Reference":
        """The full name that `text` stands for.

        Raises:
            InvalidArgument: it is not the name of an image.
        """
        rest, at, digest = text.partition("@")
        name, tag = _split_tag(rest)
        registry, repository = _split_registry(name)
        valid = (
            _REGISTRY.fullmatch(registry)
            and _REPOSITORY.fullmatch(repository)
            and len(registry) + 1 + len(repository) <= _NAME_LENGTH
            and (tag is None or _TAG.fullmatch(tag))
            and (not at or DIGEST.fullmatch(digest))
            and not re.fullmatch(r"[0-9a-f]{64}", text)
        )
        if not valid:
            raise InvalidArgument(
                f"{text[:300]!r} is not the name of an image",
                hint="names are [REGISTRY/]REPOSITORY[:TAG], lower case, or REPOSITORY@sha256:DIGEST",
            )
        return cls(registry, repository, "" if digest else tag or "latest", digest)

    @property
    def name(self) -> str:
        """Registry and repository."""
        return f"{self.registry}/{self.repository}"

    def with_digest(self, digest: str) -> "Reference":
        """The same repository's content of this digest."""
        return Reference(self.registry, self.repository, digest=digest)

    def __str__(self) -> str:
        """The full name, in the form of repo_tags and repo_digests."""
        return f"{self.name}@{self.digest}" if self.digest else f"{self.name}:{self.tag}"


def _split_tag(text: str) -> tuple[str, str | None]:
    """Name and tag: a colon after the last slash starts the tag, one before it a port."""
    head, slash, last = text.rpartition("/")
    last, colon, tag = last.partition(":")
    return head + slash + last, tag if colon else None


def _split_registry(name: str) -> tuple[str, str]:
    """Registry and repository: the first component is a registry where it looks like a host."""
    first, slash, rest = name.partition("/")
    if not slash or not (first == "localhost" or set(".:") & set(first) or first != first.lower()):
        first, rest = "docker.io", name
    if first == "index.docker.io":
        first = "docker.io"
    return first, f"library/{rest}" if first == "docker.io" and "/" not in rest else rest
