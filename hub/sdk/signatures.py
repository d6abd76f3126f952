"""Signatures over raw bytes, compared in constant time."""

from __future__ import annotations

import base64
import hashlib
import hmac

from pydantic import SecretStr


def hmac_base64(secret: SecretStr, *signed: bytes) -> str:
    """base64(HMAC-SHA256(secret, signed...)): Shopify, WooCommerce, Square and most others."""
    mac = hmac.new(secret.get_secret_value().encode(), digestmod=hashlib.sha256)
    for part in signed:
        mac.update(part)
    return base64.b64encode(mac.digest()).decode()


def same(expected: str, given: str | None) -> bool:
    """Whether the signature that came is the one expected. A missing one never is, nor is anything beyond ASCII."""
    return bool(given) and hmac.compare_digest(expected.encode(), (given or "").encode())
