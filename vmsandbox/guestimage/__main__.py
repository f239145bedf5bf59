"""`python -m vmsandbox.guestimage SUITE`: the sources of a suite on this host (sources.list(5))."""

import sys

from vmsandbox.guestimage import choose_sources, sources_list

sys.stdout.write(sources_list(choose_sources(sys.argv[1])))
