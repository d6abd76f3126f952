"""What the demo asks of the shops, as one JSON document."""

from __future__ import annotations

from pathlib import Path

import pydantic

SHOPS = ("shopify", "square", "woocommerce")


class _Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class Faults(_Strict):
    """What goes wrong on the vendors' side, as probabilities per webhook or request.

    woocommerce_resends  the real WooCommerce never sends a failed webhook again and disables it after more than five failures
                         in a row; with True (an Action Scheduler retry is installed) it is sent again like the others
    """

    duplicate: float = pydantic.Field(default=0.04, ge=0, le=1)
    late: float = pydantic.Field(default=0.04, ge=0, le=1)
    late_ms: tuple[int, int] = (200, 1000)
    lost: float = pydantic.Field(default=0.0, ge=0, le=1)
    rate_limited: float = pydantic.Field(default=0.002, ge=0, le=1)
    woocommerce_resends: bool = True


class Secrets(_Strict):
    """Credentials the shops expect and sign with."""

    shopify_token: str = "demo-shopify-token"
    shopify_secret: str = "demo-shopify-secret"
    square_token: str = "demo-square-token"
    square_signature_key: str = "demo-square-signature-key"
    woocommerce_key: str = "ck_demo"
    woocommerce_secret: str = "cs_demo"
    woocommerce_webhook_secret: str = "demo-woocommerce-webhook-secret"


class Behaviour(_Strict):
    """What becomes of web orders after the sale, as shares of them, and what happens once per run."""

    paid_later: float = pydantic.Field(default=0.3, ge=0, le=1)
    cancelled: float = pydantic.Field(default=0.03, ge=0, le=1)
    fulfilled: float = pydantic.Field(default=0.05, ge=0, le=1)
    noted: float = pydantic.Field(default=0.1, ge=0, le=1)
    ghost_after_s: float | None = 3.0
    race_after_s: float | None = None
    race_gap_ms: int = pydantic.Field(default=40, ge=0, le=100)


class Bucket(_Strict):
    """Shopify's query cost bucket; the numbers are those of a large plan."""

    maximum: float = 20_000
    restore: float = 1_000


class ShopsSpec(_Strict):
    """One run. Port 0 takes a free port; `report` is where the real addresses are written (JSON).

    rate        sales per second, all shops together
    horizon_s   how long it is meant to run: scales the opening counts, and the last-one race comes at three quarters of it
    opening     units per SKU and place; None: from the seed
    webhooks    where each shop sends its events; a shop without one sends none
    """

    seed: int = 7
    rate: float = pydantic.Field(default=20.0, gt=0)
    horizon_s: float = pydantic.Field(default=60.0, gt=0)
    products: int = pydantic.Field(default=40, ge=2, le=120)
    host: str = "127.0.0.1"
    ports: dict[str, int] = {}
    webhooks: dict[str, str] = {}
    opening: dict[str, dict[str, int]] | None = None
    report: Path | None = None
    secrets: Secrets = Secrets()
    faults: Faults = Faults()
    behaviour: Behaviour = Behaviour()
    shopify_bucket: Bucket = Bucket()

    @pydantic.field_validator("ports", "webhooks")
    @classmethod
    def _known_shops(cls, value: dict[str, object]) -> dict[str, object]:
        unknown = sorted(set(value) - set(SHOPS))
        if unknown:
            raise ValueError(f"there is no shop {unknown[0]!r}; there are {', '.join(SHOPS)}")
        return value

    @property
    def race_after(self) -> float:
        """Seconds after the start at which two shops sell the last unit."""
        return self.behaviour.race_after_s if self.behaviour.race_after_s is not None else self.horizon_s * 0.75
