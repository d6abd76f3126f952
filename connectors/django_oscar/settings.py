"""Settings of a django-oscar channel."""

from __future__ import annotations

from pydantic import SecretStr

from hub.sdk import Settings


class DjangoOscarSettings(Settings):
    """One shop.

    base_url            where django-oscar-api is mounted, `https://shop.example/api`
    user, password      a member of staff; the admin API must be switched on
    partner_id          the partner whose stock records the hub reads and writes
    cancelled_statuses  statuses of the shop's own order pipeline that end an order without goods
    shipped_statuses    those that mean the goods have left; every other status is an order under way
    """

    base_url: str
    user: str
    password: SecretStr
    partner_id: int = 1
    cancelled_statuses: tuple[str, ...] = ("Cancelled",)
    shipped_statuses: tuple[str, ...] = ("Shipped", "Complete")

    def effect(self, status: str) -> str:
        """What a status means: cancelled, shipped or open."""
        return "cancelled" if status in self.cancelled_statuses else "shipped" if status in self.shipped_statuses else "open"
