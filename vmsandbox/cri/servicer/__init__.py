"""The CRI's two services, as gRPC calls them: each call converts, asks the runtime service, and converts again.

`RuntimeServicer` has the calls of pods and containers by families, a module for each; `ImageServicer` those of images.
`AdditionsServicer` has calls of our own. `NodeInfo` is what they tell of this node. Nothing is kept between calls.
"""

from vmsandbox.cri.servicer.additions import AdditionsServicer
from vmsandbox.cri.servicer.base import NodeInfo, StreamingUrls
from vmsandbox.cri.servicer.images import ImageServicer
from vmsandbox.cri.servicer.runtime import RuntimeServicer

__all__ = ["AdditionsServicer", "ImageServicer", "NodeInfo", "RuntimeServicer", "StreamingUrls"]
