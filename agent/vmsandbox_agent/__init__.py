"""PID 1 of a vmsandbox guest: sets the machine up and runs its containers as the host asks over vsock.

Stands on the standard library and `vmsandbox.protocol` alone; importing it changes nothing.
"""
