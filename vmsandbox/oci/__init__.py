"""The OCI door: `vmsandbox-oci` (`oci_command`) asks the daemon here. A container of it has a machine of its own.

`fields` says what becomes of each field of a caller's config.json, `from_oci` converts it to the model, `door` serves
the socket, and `calls` and `streams` carry out what is asked.
"""

from vmsandbox.oci.door import serving_oci

__all__ = ["serving_oci"]
