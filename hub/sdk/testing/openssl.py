"""Signatures by a program that shares no code with the connectors."""

from __future__ import annotations

import base64
import subprocess


def openssl_hmac_base64(secret: str, signed: bytes) -> str:
    """base64(HMAC-SHA256) as `openssl dgst` reckons it."""
    key = secret.encode().hex()
    command = ["openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{key}", "-binary"]
    return base64.b64encode(subprocess.run(command, input=signed, capture_output=True, check=True).stdout).decode()
