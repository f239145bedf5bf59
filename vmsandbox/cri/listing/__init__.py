"""Lists of a runtime, asked in a tenth of a second of CPU time: for `ps`, `pods`, `images` and TAB.

gRPC, asyncio and protobuf take longer to import than such a command has. So a list is asked for
here with a socket and the few frames of HTTP/2 and fields of protobuf that it needs. Whatever is not the plain answer
is `Unusual`: the caller asks again by `cri.client`, which knows how to wait, to join several runtimes, and to say what
is wrong. tests/unit/cri/listing holds the answers to those of that client.
"""

from vmsandbox.cri.listing.connection import TIMEOUT, Unusual
from vmsandbox.cri.listing.listing import Listing, listing_of

__all__ = ["TIMEOUT", "Listing", "Unusual", "listing_of"]
