"""Credentials onto a request. Each returns a new request; the values are revealed here and nowhere else."""

from __future__ import annotations

import base64
from dataclasses import replace

from pydantic import SecretStr

from hub.sdk.talk import Request


def with_headers(request: Request, **headers: str) -> Request:
    """The request with further headers; underscores in names become hyphens."""
    added = {name.replace("_", "-"): value for name, value in headers.items()}
    return replace(request, headers={**request.headers, **added})


def bearer(request: Request, token: SecretStr) -> Request:
    """`Authorization: Bearer ...`."""
    return with_headers(request, authorization=f"Bearer {token.get_secret_value()}")


def basic(request: Request, user: str, password: SecretStr) -> Request:
    """`Authorization: Basic ...`."""
    pair = f"{user}:{password.get_secret_value()}".encode()
    return with_headers(request, authorization=f"Basic {base64.b64encode(pair).decode()}")
