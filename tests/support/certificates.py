"""Certificates of servers and clients on 127.0.0.1."""

import subprocess
from pathlib import Path


def certificate(directory: Path, name: str, issuer: str = "") -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, with its key; signed by itself, or by `issuer`."""
    key, pem = directory / f"{name}.key", directory / f"{name}.pem"
    form = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    form += ["-keyout", str(key), "-out", str(pem), "-days", "1", "-subj", f"/CN={name}"]
    form += ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "keyUsage=digitalSignature,keyCertSign"]
    if issuer:
        form += ["-CA", str(directory / f"{issuer}.pem"), "-CAkey", str(directory / f"{issuer}.key")]
    subprocess.run(form, check=True, capture_output=True)
    return pem, key
