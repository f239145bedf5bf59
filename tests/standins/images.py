"""The stand-in images: under which names each is served, and what it is made of."""

from dataclasses import dataclass

E2E = "registry.k8s.io/e2e-test-images"
STAGING = "gcr.io/k8s-staging-cri-tools"
REGISTRIES = ("registry.k8s.io", "k8s.gcr.io", "gcr.io", "quay.io", "docker.io")

BUSYBOX = f"{E2E}/busybox:1.29-2"
NGINX = f"{E2E}/nginx:1.14-2"
HTTPD = f"{E2E}/httpd:2.4.39-4"
NONEWPRIVS = f"{E2E}/nonewprivs:1.3"
PAUSE = "registry.k8s.io/pause:3.9"
PAUSE_ELSEWHERE = "k8s.gcr.io/pause:3.9"
PARITY = f"{STAGING}/parity:latest"
SOFTWARE = f"{STAGING}/software:latest"
BUILDAH = "quay.io/buildah/stable:latest"
DOCKER = "docker.io/library/docker:dind"
PREDEFINED_GROUP = f"{STAGING}/test-image-predefined-group:latest"
WITHOUT_TAG = f"{STAGING}/test-image-latest"
WITH_TAG = f"{STAGING}/test-image-tag:test"
ALL_REFERENCES = f"{STAGING}/test-image-tag:all"
BY_DIGEST = f"{STAGING}/test-image-digest:latest"
HOSTNET_NGINX = f"{STAGING}/hostnet-nginx-amd64:latest"
DIFFERENT = tuple(f"{STAGING}/test-image-{number}:latest" for number in (1, 2, 3))
SAME = tuple(f"{STAGING}/test-image-tags:{number}" for number in (1, 2, 3))
USERS = {"uid": "1002", "username": "www-data", "uid-group": "1003:1004", "username-group": "www-data:1004"}

_NGINX_COMMAND = ("/usr/sbin/nginx", "-c", "/etc/nginx/nginx.conf", "-g", "daemon off;")
_HTTPD_COMMAND = ("sh", "-c", "echo httpd: serving /srv on port 80; exec httpd -f -v -p 80 -h /srv")


def user_image(kind: str) -> str:
    """The image whose user is one of `USERS`."""
    return f"{STAGING}/test-image-user-{kind}:latest"


@dataclass(frozen=True)
class StandIn:
    """One image. `layers` are names in `layers.LAYERS`; `marker` is the name of a file that no other image has.

    `volumes` are those that the image declares. Large layers take long to pack with gzip; zstd is quick.
    """

    names: tuple[str, ...]
    layers: tuple[str, ...] = ("busybox",)
    command: tuple[str, ...] = ("sh",)
    user: str = ""
    marker: str = ""
    volumes: tuple[str, ...] = ()
    compression: str = "gzip"


STAND_INS = (
    StandIn((BUSYBOX,)),
    StandIn((NGINX,), ("busybox", "nginx"), _NGINX_COMMAND),
    StandIn((HOSTNET_NGINX,), ("busybox", "nginx", "nginx_elsewhere"), _NGINX_COMMAND),
    StandIn((HTTPD,), ("busybox", "httpd"), _HTTPD_COMMAND),
    StandIn((NONEWPRIVS,), ("nonewprivs",), ("/nnp",)),
    StandIn((PAUSE, PAUSE_ELSEWHERE), ("pause",), ("/pause",)),
    StandIn(
        (PARITY,),
        ("busybox", "predefined_group", "parity"),
        user="default-user:1004",
        volumes=("/srv/volume", "/srv/missing", "/srv/link-to-volume"),
    ),
    StandIn((SOFTWARE,), ("busybox", "nginx", "software"), compression="zstd"),
    StandIn((BUILDAH,), ("busybox", "buildah"), compression="zstd"),
    StandIn((PREDEFINED_GROUP,), ("busybox", "predefined_group"), user="1000"),
    *(StandIn((name,), marker=f"different-{number}") for number, name in enumerate(DIFFERENT, 1)),
    StandIn(SAME, marker="same"),
    StandIn((WITHOUT_TAG,), marker="without-tag"),
    StandIn((WITH_TAG,), marker="with-tag"),
    StandIn((ALL_REFERENCES,), marker="all-references"),
    StandIn((BY_DIGEST,), marker="by-digest"),
    *(StandIn((user_image(kind),), user=user) for kind, user in USERS.items()),
)

WITH_DOCKER = StandIn((DOCKER,), ("busybox", "docker"), compression="zstd")
"""An image of 240 MB, built only for tests that need it."""
