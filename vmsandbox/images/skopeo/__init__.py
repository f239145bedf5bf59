"""skopeo(1), which fetches images: run confined as a user of its own, in a workspace that is given back.

`Skopeo` is the one place that knows its command line; what it prints when it fails becomes an error of the project.
"""

from vmsandbox.images.skopeo.credentials import secrets_of
from vmsandbox.images.skopeo.skopeo import Skopeo

__all__ = ["Skopeo", "secrets_of"]
