"""Records about deliver, generated from schemas/avro/deliver by `python -m schemas.generate`; do not edit."""

from __future__ import annotations

from typing import Literal

import msgspec

Outcome = Literal["accepted", "refused", "unchanged", "unknown", "held"]
DriftKind = Literal["channel_edit", "unexplained", "untold", "unreferenced_sale", "aged_feed", "two_authorities", "ledger", "published", "observed"]
TellOutcome = Literal["sending", "accepted", "refused", "lost"]


class Allow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A person's word that a channel's numbers that were held back may go."""

    # channel
    channel: str
    # what was held back until then goes, once [ms]
    at: int


class ChannelDelay(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How long a channel goes on selling what is sold."""

    # channel
    channel: str
    # from a sale to the lower number that the channel has taken, in the mean; in steps of two, rounded up
    delay_ms: int
    # whether its own sales are news to it as well, because it does not lower its number itself
    own: bool
    # when it was measured [ms]
    updated_at: int


class Delivered(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a channel was told last about one key."""

    # channel
    channel: str
    # stock
    sink: str
    # sku
    key: str
    # revision of the unified record that was sent
    revision: int
    # number the channel accepted
    sent: int | None = None
    # units the channel took off by itself since the first put
    sold: int = 0
    # what became of it; unknown: it is being sent, or its answer was lost; held: a 0 that waits for a person's word
    outcome: Outcome
    # why it was refused
    reason: str | None = None
    # accepted writes so far
    writes: int = 0
    # with outcome unknown: the number that was being sent
    pending: int | None = None
    # with outcome unknown: what the channel said before it
    read: int | None = None
    # occurred_at of the cause [ms]
    cause_at: int | None = None
    # Availability.ordered of the number in sent
    ordered: int = 0
    # since when it is 0, where it was put there by more than orders explain; null for what a person has let go [ms]
    fell_at: int | None = None
    # wall clock of the answer [ms]
    at: int


class StockDrift(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A number in a channel, or of our own, that is not what it should be, and that no order explains."""

    # of the number that was left there and of what became of it: the same difference found again is the same finding
    finding_id: str
    # channel, or who observes; empty where it is no channel's number but the hub's own
    channel: str
    # item
    sku: str
    # channel_edit: somebody changed it in the channel; unexplained: its sales and its orders differ; untold: it does not know of a fact;
    # unreferenced_sale: rung up beside a hand-over that it was told of; aged_feed: a place was not read for too long; two_authorities: a number of a
    # system that does not count the place any more; ledger: a counter is not the sum of its entries; published: a channel's number does not follow from
    # the counters; observed: who does not count the place says otherwise, lastingly
    kind: DriftKind
    # what the channel, or the record, should have shown
    expected: int
    # what it showed when that was first seen
    found: int
    # found less expected
    units: int
    # for the operator
    reason: str
    # wall clock of the reading [ms]
    at: int
    # the channel has the right number again, or is told it next
    compensated: bool
    # place; null where it is about all of them
    location: str | None = None


class Told(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How far the system that counts a place has been told of a fact."""

    # who is told
    channel: str
    # item
    sku: str
    # place
    location: str
    # the business fact
    entry_id: str
    # sending: written down before the request leaves; lost: it may have taken it in or not, and is not asked again
    outcome: TellOutcome
    # signed: what it was told
    units: int
    # wall clock before the first request; null where none was sent [ms]
    sent_at: int | None = None
    # wall clock of the answer [ms]
    acked_at: int | None = None
    # when its book took it in, by its own clock [ms]
    recorded_at: int | None = None
    # why it was refused or is not known
    reason: str | None = None
    # wall clock [ms]
    at: int
