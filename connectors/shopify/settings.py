"""Settings of a shopify channel."""

from __future__ import annotations

from pydantic import SecretStr

from hub.sdk import Settings


class ShopifySettings(Settings):
    """One shop. `location_id` is Shopify's number of the location whose available quantity the hub writes and reads."""

    base_url: str
    access_token: SecretStr
    client_secret: SecretStr
    location_id: str
    api_version: str = "2026-10"
