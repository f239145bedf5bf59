"""Machines that wait for pods: as many of each kind as the settings want, each for one pod.

`waiting` makes and ends them, `wanted_pools` says of which kinds they are to be, and `warm_pool` keeps them as many.
"""

from vmsandbox.sandbox.lifecycle.pool.waiting import Waiting, with_id
from vmsandbox.sandbox.lifecycle.pool.wanted_pools import PoolFigures
from vmsandbox.sandbox.lifecycle.pool.warm_pool import WarmPool

__all__ = ["PoolFigures", "Waiting", "WarmPool", "with_id"]
