"""The options of `vmsandbox run IMAGE`, which mean what they mean to `podman run`, as a Pod of core/v1.

The Pod is a document of plain values: it is read, planned and run as those of files are, and can be written to one.
Everything here is pure.
"""

from vmsandbox.pod.options.document import option_of, pod_document
from vmsandbox.pod.options.refused import FLAGS, REFUSED
from vmsandbox.pod.options.run_options import OptionContext, RunOptions
from vmsandbox.pod.options.values import labels

__all__ = ["FLAGS", "REFUSED", "OptionContext", "RunOptions", "labels", "option_of", "pod_document"]
