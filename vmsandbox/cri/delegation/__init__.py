"""Pods that are not to be machines are another runtime's, behind the same socket.

A kubelet speaks to one runtime. kube-proxy, a CNI agent, and whatever else needs the host's own network, processes or
IPC cannot run in a machine; a delegate (containerd, CRI-O) takes these pods. What the client says about one of them is
handed on as it is, and what is listed is what both runtimes have. Nothing is recorded: a sandbox or container that is
not ours is the delegate's.

`router` has the table that says which runtime answers a call, `runtimes` the policy that says whose a pod is.
"""

from vmsandbox.cri.delegation.delegate import look_at_delegate
from vmsandbox.cri.delegation.router import delegating

__all__ = ["delegating", "look_at_delegate"]
