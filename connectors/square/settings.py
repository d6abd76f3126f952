"""Settings of a square channel."""

from __future__ import annotations

from pydantic import SecretStr

from hub.sdk import Settings


class SquareSettings(Settings):
    """One seller. `location_id` is the location that is read and written; a further location is a further channel."""

    access_token: SecretStr
    signature_key: SecretStr
    location_id: str
    base_url: str = "https://connect.squareup.com"
    api_version: str = "2025-08-20"
