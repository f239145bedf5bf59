"""Protobuf to model (`..._from_cri`) and back (`..._to_cri`), a module for each message or family of them.

What the model cannot represent is refused here; all other rules are `sandbox.spec.rules`. `fields` has what is not
converted, and why.
"""

from typing import TYPE_CHECKING

from vmsandbox.protocol.faces import face

if TYPE_CHECKING:
    from vmsandbox.cri.convert.container import container_config_from_cri, container_config_to_cri
    from vmsandbox.cri.convert.fields import refuse
    from vmsandbox.cri.convert.from_cri import (
        container_item_from_cri,
        container_status_from_cri,
        event_from_cri,
        sandbox_item_from_cri,
        sandbox_status_from_cri,
    )
    from vmsandbox.cri.convert.image import (
        image_from_cri,
        image_spec_document,
        image_to_cri,
        registry_auth_from_cri,
        registry_auth_to_cri,
    )
    from vmsandbox.cri.convert.json_document import described, document, redescribed
    from vmsandbox.cri.convert.pod import sandbox_config_from_cri, sandbox_config_to_cri
    from vmsandbox.cri.convert.resources import resources_from_cri, resources_to_cri
    from vmsandbox.cri.convert.to_cri import (
        container_item_to_cri,
        container_status_to_cri,
        event_to_cri,
        sandbox_item_to_cri,
        sandbox_status_to_cri,
    )
    from vmsandbox.cri.convert.usage import container_stats_to_cri, sandbox_stats_to_cri

__all__ = [
    "container_config_from_cri",
    "container_config_to_cri",
    "container_item_from_cri",
    "container_item_to_cri",
    "container_stats_to_cri",
    "container_status_from_cri",
    "container_status_to_cri",
    "described",
    "document",
    "event_from_cri",
    "event_to_cri",
    "image_from_cri",
    "image_spec_document",
    "image_to_cri",
    "redescribed",
    "refuse",
    "registry_auth_from_cri",
    "registry_auth_to_cri",
    "resources_from_cri",
    "resources_to_cri",
    "sandbox_config_from_cri",
    "sandbox_config_to_cri",
    "sandbox_item_from_cri",
    "sandbox_item_to_cri",
    "sandbox_stats_to_cri",
    "sandbox_status_from_cri",
    "sandbox_status_to_cri",
]

__getattr__ = face(
    __name__,
    container="container_config_from_cri container_config_to_cri",
    fields="refuse",
    from_cri=(
        "container_item_from_cri container_status_from_cri event_from_cri sandbox_item_from_cri sandbox_status_from_cri"
    ),
    image="image_from_cri image_spec_document image_to_cri registry_auth_from_cri registry_auth_to_cri",
    json_document="described document redescribed",
    pod="sandbox_config_from_cri sandbox_config_to_cri",
    resources="resources_from_cri resources_to_cri",
    to_cri="container_item_to_cri container_status_to_cri event_to_cri sandbox_item_to_cri sandbox_status_to_cri",
    usage="container_stats_to_cri sandbox_stats_to_cri",
)
