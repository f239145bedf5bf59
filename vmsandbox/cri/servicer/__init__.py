"""The CRI's two services, as gRPC calls them: each call converts, asks the runtime service, and converts again.

`RuntimeServicer` has the calls of pods and containers by families, a module for each; `ImageServicer` those of images.
`NodeInfo` is what they tell of this node. Nothing here is kept from one call to the next.
"""

from vmsandbox.cri.servicer.base import NodeInfo, StreamingUrls
from vmsandbox.cri.servicer.images import ImageServicer
from vmsandbox.cri.servicer.runtime import RuntimeServicer

__all__ = ["ImageServicer", "NodeInfo", "RuntimeServicer", "StreamingUrls"]
