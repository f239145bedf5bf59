"""Which images a pod needs, whether they are pulled, and with which credentials."""

import json
from dataclasses import dataclass

from vmsandbox.errors import Collected, InvalidArgument
from vmsandbox.images import Reference
from vmsandbox.model import RegistryAuth
from vmsandbox.pod.api import Manifest, PullPolicy, Secret
from vmsandbox.pod.plan.variables import missing
from vmsandbox.typed_yaml import YamlNode

_TYPES = {"kubernetes.io/dockerconfigjson": ".dockerconfigjson", "kubernetes.io/dockercfg": ".dockercfg"}
_DOCKER_HUB = "index.docker.io"


@dataclass(frozen=True, slots=True)
class ImagePlan:
    """An image, as the pod names it."""

    name: str
    policy: PullPolicy
    auth: RegistryAuth | None = None


def plan_images(manifest: Manifest) -> tuple[ImagePlan, ...]:
    """The images of a pod, each once; where one of its users always pulls, it is pulled.

    Raises:
        InvalidArgument: names are malformed; imagePullSecrets are missing or malformed.
    """
    spec = manifest.pod.spec
    wanted = [(c.image, c.image_pull_policy, c.at.of("image")) for c in (*spec.init_containers, *spec.containers)]
    for volume in spec.volumes:
        if volume.image:
            wanted.append((volume.image.reference, volume.image.pull_policy, volume.image.at.of("reference")))
    collected = Collected()
    auths = collected.of(_credentials, manifest) or {}
    plans: dict[str, ImagePlan] = {}
    for name, policy, at in wanted:
        if (plan := collected.of(_plan, name, policy, at, auths)) is not None:
            known = plans.get(name, plan)
            plans[name] = min(known, plan, key=lambda either: _EAGERNESS.index(either.policy))
    collected.check()
    return tuple(plans.values())


_EAGERNESS = (PullPolicy.ALWAYS, PullPolicy.IF_NOT_PRESENT, PullPolicy.NEVER)


def _plan(name: str, policy: PullPolicy | None, at: YamlNode, auths: dict[str, RegistryAuth]) -> ImagePlan:
    try:
        reference = Reference.parse(name)
    except InvalidArgument as error:
        raise at.error(error.message, hint=error.hint) from None
    default = PullPolicy.ALWAYS if reference.tag == "latest" else PullPolicy.IF_NOT_PRESENT
    return ImagePlan(name, policy or default, _auth(reference, auths))


def _auth(reference: Reference, auths: dict[str, RegistryAuth]) -> RegistryAuth | None:
    """The credentials of the longest prefix of the image's name."""
    parts = reference.name.split("/")
    prefixes = ("/".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((auths[prefix] for prefix in prefixes if prefix in auths), None)


def _credentials(manifest: Manifest) -> dict[str, RegistryAuth]:
    """Return credentials by registry, or registry and path; the first secret that has them wins."""
    found: dict[str, RegistryAuth] = {}
    for reference in manifest.pod.spec.image_pull_secrets:
        secret = manifest.secrets.get(reference.name)
        if secret is None:
            raise missing(reference.at.of("name"), "Secret", reference.name)
        found = _of_secret(secret) | found
    return found


def _of_secret(secret: Secret) -> dict[str, RegistryAuth]:
    key = _TYPES.get(secret.type)
    if key is None:
        raise secret.at.of("type").error(f"an imagePullSecret is of type {' or '.join(_TYPES)}")
    try:
        document = json.loads(secret.content[key])
        auths = document["auths"] if key == ".dockerconfigjson" else document
        return {_registry(name): _entry(entry) for name, entry in auths.items()}
    except (KeyError, ValueError, TypeError, AttributeError):
        raise secret.at.of("data").error(f"the key {key} holds no docker configuration") from None


def _entry(entry: dict[str, str]) -> RegistryAuth:
    names = {
        "username": "username", "password": "password", "auth": "auth",
        "identitytoken": "identity_token", "registrytoken": "registry_token",
    }  # fmt: skip
    return RegistryAuth(**{field: str(entry[key]) for key, field in names.items() if key in entry})


def _registry(name: str) -> str:
    """A docker configuration has URLs, too: https://index.docker.io/v1/."""
    host, _, path = name.removeprefix("https://").removeprefix("http://").partition("/")
    path = path.strip("/")
    path = "" if path in ("v1", "v2") else path
    host = "docker.io" if host == _DOCKER_HUB else host
    return f"{host}/{path}" if path else host
