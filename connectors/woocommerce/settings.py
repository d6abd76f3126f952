"""Settings of a woocommerce channel."""

from __future__ import annotations

from pydantic import SecretStr

from hub.sdk import Settings


class WooCommerceSettings(Settings):
    """One shop, over HTTPS: plain HTTP would need OAuth 1.0a, which this connector does not speak."""

    base_url: str
    consumer_key: str
    consumer_secret: SecretStr
    webhook_secret: SecretStr
