"""Documents of images (OCI image-spec, docker schema 2): references, manifests, indexes, configurations.

Pure functions over bytes that registries and makers of images have written: bounded, and each value checked before it
is used.
"""

from vmsandbox.images.oci.documents import (
    MAX_DOCUMENT,
    Malformed,
    check_digest,
    checked,
    digest_of,
    load_json,
    member,
    texts,
)
from vmsandbox.images.oci.imageconfig import ParsedConfig, parse_config
from vmsandbox.images.oci.manifest import (
    MAX_LAYERS,
    Descriptor,
    ImageManifest,
    IndexEntry,
    choose_manifest,
    is_index,
    parse_index,
    parse_manifest,
    runs_on,
)
from vmsandbox.images.oci.platform import Platform
from vmsandbox.images.oci.reference import Reference

__all__ = [
    "MAX_DOCUMENT",
    "MAX_LAYERS",
    "Descriptor",
    "ImageManifest",
    "IndexEntry",
    "Malformed",
    "ParsedConfig",
    "Platform",
    "Reference",
    "check_digest",
    "checked",
    "choose_manifest",
    "digest_of",
    "is_index",
    "load_json",
    "member",
    "parse_config",
    "parse_index",
    "parse_manifest",
    "runs_on",
    "texts",
]
