"""What a connector declares. See connectors/_example for the shortest one that does everything."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import msgspec
import pydantic

from hub.sdk.talk import Request, Talk


class Settings(pydantic.BaseModel):
    """Base of a connector's settings. Unknown fields are refused; secrets are SecretStr and are written in hub.yaml only
    as references (env:NAME or file:/path)."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


S = TypeVar("S", bound=Settings)


@dataclass(frozen=True, slots=True)
class Item:
    """One object as the channel sent it.

    stream     order, item or count: which mapping it goes to
    native_id  the channel's own id of the object (raw is keyed by channel and this)
    payload    the bytes as received
    version    the vendor's revision or modification time where it has one; "" = the content decides
    source     shop, location or seller it came from
    """

    stream: str
    native_id: str
    payload: bytes
    version: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a poll. `position` is stored with it in one transaction; the next page is asked with it.

    more      ask again at once
    complete  with this page everything the channel holds (first read) or everything since the position has been read
    passed_at the channel's clock: everything it recorded before this moment has been handed over (ms), None if unknown
    """

    items: Sequence[Item]
    position: str | None
    more: bool
    complete: bool = False
    passed_at: int | None = None


@dataclass(frozen=True, slots=True)
class Poll(Generic[S]):
    """A source that is asked. `page(settings, position)` reads one page; position None is the very first read.

    every  seconds between two rounds
    """

    stream: str
    page: Callable[[S, str | None], Talk[Page]]
    every: float = 60.0


@dataclass(frozen=True, slots=True)
class Hook:
    """One webhook request as it came in. Header names are lower case; `url` is the public one the channel was told."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Notice:
    """What a verified webhook request is about.

    item   the object, complete; or
    fetch  a conversation that gets it (the webhook was only a notice); the fetched Item is appended instead
    """

    item: Item | None = None
    fetch: Callable[[], Talk[Item]] | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """A handshake answered at the door; nothing is appended."""

    status: int
    content: bytes = b""
    content_type: str = "text/plain"


@dataclass(frozen=True, slots=True)
class Webhook(Generic[S]):
    """How the channel tells us.

    verify     True when the request is the channel's; must use hmac.compare_digest over the raw bytes
    read       what it is about; called only after verify, and must be total: an unreadable body becomes an Item of
               stream `order` (or the event's own stream) so that it ends as a dead letter, not as a 4xx
    handshake  a Reply for requests that are not events (ping, challenge), else None; called before verify
    headers    names of headers worth keeping for the mapping (never signatures)
    """

    verify: Callable[[S, Hook], bool]
    read: Callable[[S, Hook], Notice]
    handshake: Callable[[S, Hook], Reply | None] = lambda settings, hook: None
    headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """What the channel says now about one SKU. `token` is whatever the sink's put needs from the read."""

    quantity: int
    token: Any = None


@dataclass(frozen=True, slots=True)
class Level:
    """One absolute stock number to put. `native` are the item's ids in this channel (unified.item): `id` and the rest.

    reading  the quantity read before, for channels with compare-and-set; None when it could not be read
    key      delivery id, stable over retries of the same number: the vendor's idempotency key
    at       when `reading` was taken (ms), for channels that want a time with a number; stable with `key`
    """

    sku: str
    native: Mapping[str, str]
    quantity: int
    reading: Reading | None
    key: str
    at: int = 0


@dataclass(frozen=True, slots=True)
class Put:
    """The channel's answer for one SKU: accepted, conflict (read again) or refused (with the channel's words)."""

    sku: str
    accepted: bool
    conflict: bool = False
    message: str = ""


@dataclass(frozen=True, slots=True)
class StockSink(Generic[S]):
    """Carries absolute availability back. It never does arithmetic.

    read            quantities of several SKUs (native ids by SKU) -> Reading by SKU; a SKU the channel lacks is absent
    put             several levels -> one Put each
    exactly_once    how a repeat stays harmless: absolute | compare-and-set | idempotency-key
    lowers_itself   the channel takes its own sales off this number
    batch           most levels in one put
    """

    read: Callable[[S, Mapping[str, Mapping[str, str]]], Talk[Mapping[str, Reading]]]
    put: Callable[[S, Sequence[Level]], Talk[Sequence[Put]]]
    exactly_once: str
    lowers_itself: bool
    batch: int = 50


@dataclass(frozen=True, slots=True)
class Adjustment:
    """Units that came or went at a place which the channel counts, and that it does not know of.

    location   the channel's own id of the place
    units      signed, never 0: what changes in the channel's number
    kind       what happened: shipped, returned, missing, ... (ChangeKind)
    reference  the business fact's id
    key        stable over retries: the vendor's idempotency key
    at         when it happened, never after the request was first made (ms)
    """

    sku: str
    native: Mapping[str, str]
    location: str
    units: int
    kind: str
    reference: str
    key: str
    at: int


@dataclass(frozen=True, slots=True)
class Adjusted:
    """The channel's answer: accepted, or refused with its words. `recorded_at` is when its book took it in, by its own clock (ms), where it tells."""

    accepted: bool
    recorded_at: int | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class AdjustSink(Generic[S]):
    """Tells a channel that counts a place of what others did there, each fact once.

    adjust        one fact -> the channel's answer. The same Adjustment makes the same request, to the letter
    exactly_once  idempotency-key: a repeat of a request whose answer was lost changes nothing; none: it would be counted twice, so it is never repeated
    within        the oldest fact that the channel takes [s]; None: any
    """

    adjust: Callable[[S, Adjustment], Talk[Adjusted]]
    exactly_once: str
    within: float | None = None


@dataclass(frozen=True, slots=True)
class Bucket:
    """The channel's limit: `rate` per second, `burst` at once, in units of Request.cost. One per channel (account)."""

    rate: float
    burst: float


class Lookup(Protocol):
    """What mapping may ask. Pure: the same lookups give the same answers for one revision of unified.item."""

    channel: str

    def sku(self, native_id: str) -> str:
        """The SKU behind a native id. Unknown: the record is parked and mapped again when the item arrives."""

    def location(self, native_location: str) -> str:
        """Our name of the channel's place. Unknown: Refuse(reason='unknown-location')."""


MappingFunction = Callable[["MappingInput", Lookup], Iterable[msgspec.Struct]]


@dataclass(frozen=True, slots=True)
class MappingInput:
    """What a mapping is given: the decoded Raw envelope's fields it may use."""

    channel: str
    stream: str
    native_id: str
    headers: Mapping[str, str]
    payload: bytes
    received_at: int


class Connector(Generic[S]):
    """The declaration of one kind of channel. Subclass, fill in, done; nothing of it is instantiated by you.

    domain    name of the folder and of `connector:` in hub.yaml
    settings  the Settings subclass
    streams   stream -> mapping; a mapping yields canonical records (OrderEvent, ItemEvent, StockEvent, TransferEvent), or raises Refuse
    polls     an items poll always; orders poll as reconciliation; counts poll where the channel can be an authority or observe one
    sink      how it is told what it may sell
    adjusts   how it is told of facts at places that it counts itself (locations.yaml: tell: adjustment)
    """

    domain: ClassVar[str]
    version: ClassVar[str] = "1"
    settings: ClassVar[type[Settings]]
    streams: ClassVar[Mapping[str, MappingFunction]]
    polls: ClassVar[Sequence[Poll[Any]]]
    webhook: ClassVar[Webhook[Any] | None] = None
    sink: ClassVar[StockSink[Any] | None] = None
    adjusts: ClassVar[AdjustSink[Any] | None] = None
    limit: ClassVar[Bucket] = Bucket(rate=10, burst=20)

    @staticmethod
    def base(settings: Any) -> str:
        """Base URL of the channel's API."""
        raise NotImplementedError

    @staticmethod
    def authorize(settings: Any, request: Request) -> Request:
        """The request with credentials. Called by the machine for every request of a Talk."""
        raise NotImplementedError
