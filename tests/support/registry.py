"""A real registry for tests: Debian's docker-registry on a loopback port, started and stopped here."""

import contextlib
import json
import re
import subprocess
import threading
import urllib.request
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.images import BuiltImage

_ACCESS = re.compile(r'"(?P<method>[A-Z]+) (?P<path>\S+) HTTP/1\.1" (?P<status>\d+)')


@dataclass(frozen=True)
class Request:
    """A line of the registry's access log."""

    method: str
    path: str
    status: int


@dataclass(frozen=True)
class Registry:
    """A registry that runs; `address` is host and port."""

    address: str
    directory: Path
    credentials: tuple[str, str] | None = None

    def push(self, name: str, image: BuiltImage) -> str:
        """Put an image into the registry under REPOSITORY[:TAG], byte for byte; returns its full name."""
        repository, _, tag = name.partition(":")
        self._put(repository, image)
        self._put_manifest(repository, tag or "latest", image)
        return f"{self.address}/{repository}:{tag or 'latest'}"

    def _put(self, repository: str, image: BuiltImage) -> None:
        for child in image.children:
            self._put(repository, child)
            self._put_manifest(repository, child.digest, child)
        for digest, blob in image.blobs.items():
            location = self._request("POST", f"/v2/{repository}/blobs/uploads/")
            self._request("PUT", f"{location}&digest={digest}", blob, "application/octet-stream")

    def _put_manifest(self, repository: str, reference: str, image: BuiltImage) -> None:
        self._request("PUT", f"/v2/{repository}/manifests/{reference}", image.manifest, image.media_type)

    def _request(self, method: str, path: str, data: bytes = b"", kind: str = "") -> str:
        url = path if path.startswith("http") else f"http://{self.address}{path}"
        headers = {"Content-Type": kind} if kind else {}
        if self.credentials:
            headers["Authorization"] = "Basic " + b64encode(":".join(self.credentials).encode()).decode()
        request = urllib.request.Request(url, data, headers, method=method)
        with urllib.request.urlopen(request) as response:
            return str(response.headers.get("Location", ""))

    def requests(self) -> tuple[Request, ...]:
        """Return the requests of clients so far."""
        found = _ACCESS.finditer((self.directory / "access.log").read_text())
        return tuple(Request(m["method"], m["path"], int(m["status"])) for m in found)

    def fetched(self, digest: str) -> int:
        """How many times a blob was fetched."""
        return sum(r.method == "GET" and r.path.endswith(digest) and r.status == 200 for r in self.requests())

    def blob_file(self, digest: str) -> Path:
        """The file in which the registry keeps a blob."""
        hexadecimal = digest.removeprefix("sha256:")
        blobs = self.directory / "data/docker/registry/v2/blobs/sha256"
        return blobs / hexadecimal[:2] / hexadecimal / "data"


@contextlib.contextmanager
def running_registry(directory: Path, users: Mapping[str, str] | None = None) -> Iterator[Registry]:
    """Run a registry with its data and logs in a directory; with users it asks for one's password."""
    config: dict[str, object] = {
        "version": "0.1",
        "log": {"level": "info", "accesslog": {"disabled": False}},
        "storage": {"filesystem": {"rootdirectory": str(directory / "data")}, "delete": {"enabled": True}},
        "http": {"addr": "127.0.0.1:0"},
    }
    if users:
        config["auth"] = {"htpasswd": {"realm": "tests", "path": str(_htpasswd(directory, users))}}
    (directory / "config.yml").write_text(json.dumps(config))
    with (directory / "access.log").open("wb") as access:
        process = subprocess.Popen(
            ["docker-registry", "serve", str(directory / "config.yml")], stdout=access, stderr=subprocess.PIPE
        )
    with process:
        try:
            address = _listening(process)
            yield Registry(address, directory, next(iter(users.items())) if users else None)
        finally:
            process.terminate()


def _htpasswd(directory: Path, users: Mapping[str, str]) -> Path:
    lines = [
        subprocess.run(["htpasswd", "-niB", user], input=password, text=True, check=True, capture_output=True).stdout
        for user, password in users.items()
    ]
    path = directory / "htpasswd"
    path.write_text("".join(line.strip() + "\n" for line in lines))
    return path


def _listening(process: subprocess.Popen[bytes]) -> str:
    """Wait for the registry's word that it listens; what it says later is read and dropped."""
    assert process.stderr
    said = []
    for line in process.stderr:
        said.append(line.decode())
        found = re.search(r"listening on (127\.0\.0\.1:\d+)", said[-1])
        if found:
            threading.Thread(target=process.stderr.read, daemon=True).start()
            return found[1]
    raise AssertionError("docker-registry ended: " + "".join(said))
