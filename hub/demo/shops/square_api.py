"""Square's REST API as far as a hub needs it: orders, catalogue, inventory, locations."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hub.demo.shops.book import Order
from hub.demo.shops.shop import millis_z

if TYPE_CHECKING:
    from hub.demo.shops.square import Square

MERCHANT = "MLCROSSDOCKDEMO"
DAY_MS = 24 * 3600 * 1000
WRITABLE = ("IN_STOCK", "SOLD", "WASTE", "NONE", "UNLINKED_RETURN")
Answer = dict[str, Any]
Handler = Callable[[Request, Mapping[str, Any]], Answer]


@dataclass(frozen=True)
class Refusal(Exception):
    """An error answer."""

    status: int
    code: str
    detail: str
    field: str | None = None
    category: str = "INVALID_REQUEST_ERROR"

    def body(self) -> Answer:
        """The vendor's error shape."""
        error = {"category": self.category, "code": self.code, "detail": self.detail}
        return {"errors": [error | ({"field": self.field} if self.field else {})]}


@dataclass(frozen=True, slots=True)
class Change:
    """One change that was asked for: units counted, or signed units that came to the stock."""

    kind: str
    sku: str
    place: str
    quantity: int
    at: int


class Api:
    """Routes and answers."""

    def __init__(self, shop: Square) -> None:
        self._shop = shop
        self._stored: dict[str, tuple[str, Answer]] = {}

    def routes(self) -> list[Route]:
        """The endpoints."""
        return [
            Route("/v2/orders/search", self._guard(self._search_orders), methods=["POST"]),
            Route("/v2/orders/{order_id}", self._guard(self._order), methods=["GET"]),
            Route("/v2/catalog/list", self._guard(self._catalog), methods=["GET"]),
            Route("/v2/catalog/search", self._guard(self._catalog_search), methods=["POST"]),
            Route("/v2/inventory/counts/batch-retrieve", self._guard(self._counts), methods=["POST"]),
            Route("/v2/inventory/changes/batch-create", self._guard(self._changes), methods=["POST"]),
            Route("/v2/locations", self._guard(self._locations), methods=["GET"]),
        ]

    def _guard(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            try:
                self._authorize(request)
                return JSONResponse(handler(request, await _body(request)))
            except Refusal as refusal:
                return JSONResponse(refusal.body(), refusal.status)

        return answer

    def _authorize(self, request: Request) -> None:
        wanted = f"Bearer {self._shop.spec.secrets.square_token}"
        if not hmac.compare_digest(request.headers.get("authorization", "").encode(), wanted.encode()):
            raise Refusal(401, "UNAUTHORIZED", "This request could not be authorized.", category="AUTHENTICATION_ERROR")
        if self._shop.limited():
            raise Refusal(429, "RATE_LIMITED", "The rate limit has been exceeded.", category="RATE_LIMIT_ERROR")

    def _order(self, request: Request, body: Mapping[str, Any]) -> Answer:
        order = self._shop.book.orders.get(request.path_params["order_id"])
        if order is None:
            raise Refusal(404, "NOT_FOUND", "Order not found.")
        return {"order": self._shop.order_object(order)}

    def _search_orders(self, request: Request, body: Mapping[str, Any]) -> Answer:
        locations = body.get("location_ids")
        if not isinstance(locations, list) or not locations:
            raise Refusal(400, "MISSING_REQUIRED_PARAMETER", "Missing required parameter.", "location_ids")
        if len(locations) > 10:
            raise Refusal(400, "ARRAY_LENGTH_TOO_LONG", "Must contain at most 10 values.", "location_ids")
        places = {self._shop.place_of(location) for location in locations}
        if None in places:
            raise Refusal(400, "INVALID_VALUE", "Merchant does not have access to one of the locations.", "location_ids")
        query = body.get("query") or {}
        field, descending = _sorting(query)
        kept = [order for order in self._shop.book.orders.values() if order.place in places and _in_range(order, query, field)]
        page, cursor = self._order_page(kept, body, field, descending)
        if body.get("return_entries"):
            found = [{"order_id": o.id, "version": o.version, "location_id": self._shop.natives.places[o.place]} for o in page]
            return {"order_entries": found} | cursor
        return {"orders": [self._shop.order_object(order) for order in page]} | cursor

    def _order_page(self, kept: list[Order], body: Mapping[str, Any], field: str, descending: bool) -> tuple[Sequence[Order], Answer]:
        """The cursor holds the last order and the moment of the first request, after which nothing belongs to the search."""
        until, last = _order_cursor(body["cursor"]) if body.get("cursor") else (self._shop.clock(), None)
        sign = -1 if descending else 1
        keyed = [((_when(order, field), order.id), order) for order in kept]
        keyed = [(key, order) for key, order in keyed if key[0] <= until and (last is None or (key > last if sign > 0 else key < last))]
        keyed.sort(key=lambda pair: pair[0], reverse=descending)
        size = _limit(body.get("limit"), 500, 1000)
        more = {"cursor": _encode([until, *keyed[size - 1][0]])} if len(keyed) > size else {}
        return [order for _, order in keyed[:size]], more

    def _catalog(self, request: Request, body: Mapping[str, Any]) -> Answer:
        types = [t.strip().upper() for t in (request.query_params.get("types") or "ITEM,ITEM_VARIATION").split(",")]
        objects = self._objects(types)
        page, cursor = _page(objects, request.query_params.get("cursor"), 100)
        return {"objects": page} | cursor

    def _catalog_search(self, request: Request, body: Mapping[str, Any]) -> Answer:
        objects = self._objects(body.get("object_types") or ["ITEM", "ITEM_VARIATION"])
        exact = ((body.get("query") or {}).get("exact_query")) or {}
        if exact:
            objects = [o for o in objects if str(o.get("item_variation_data", {}).get(exact.get("attribute_name"))) == exact.get("attribute_value")]
        page, cursor = _page(objects, body.get("cursor"), _limit(body.get("limit"), 100, 1000))
        return {"objects": page} | cursor

    def _objects(self, types: Sequence[str]) -> list[Answer]:
        items = [self._item(group) for group in self._shop.natives.groups] if "ITEM" in types else []
        return items + ([self._variation(sku) for sku in self._shop.goods] if "ITEM_VARIATION" in types else [])

    def _item(self, group: str) -> Answer:
        variations = [self._variation(p.sku) for p in self._shop.goods.values() if p.group == group]
        data = {"name": group, "product_type": "REGULAR", "is_taxable": True, "variations": variations}
        return self._object("ITEM", self._shop.natives.groups[group]) | {"item_data": data}

    def _variation(self, sku: str) -> Answer:
        product, native = self._shop.goods[sku], self._shop.natives.items[sku]
        data = {
            "item_id": native["item"],
            "name": product.colour,
            "sku": sku,
            "ordinal": 0,
            "pricing_type": "FIXED_PRICING",
            "price_money": {"amount": product.cents, "currency": "EUR"},
            "track_inventory": True,
            "sellable": True,
            "stockable": True,
        }
        return self._object("ITEM_VARIATION", native["variation"]) | {"item_variation_data": data}

    def _object(self, kind: str, native: str) -> Answer:
        return {"type": kind, "id": native, "updated_at": millis_z(self._shop.opened_at), "version": 1, "is_deleted": False, "present_at_all_locations": True}

    def _locations(self, request: Request, body: Mapping[str, Any]) -> Answer:
        made = [
            {
                "id": native, "name": place.title(), "status": "ACTIVE", "timezone": "Europe/Paris", "merchant_id": MERCHANT, "country": "FR",
                "language_code": "fr-FR", "currency": "EUR", "type": "PHYSICAL", "capabilities": ["CREDIT_CARD_PROCESSING"],
                "created_at": millis_z(self._shop.opened_at)[:19] + "Z",
            }
            for place, native in sorted(self._shop.natives.places.items())
        ]  # fmt: skip
        return {"locations": made}

    def _counts(self, request: Request, body: Mapping[str, Any]) -> Answer:
        variations, locations = body.get("catalog_object_ids"), body.get("location_ids")
        since = _time(body["updated_after"], "updated_after") if body.get("updated_after") else None
        if body.get("states") and "IN_STOCK" not in body["states"]:
            return {"counts": []}
        kept = [
            pair
            for pair, count in self._shop.counts.items()
            if (not variations or self._shop.natives.items[pair[0]]["variation"] in variations)
            and (not locations or self._shop.natives.places[pair[1]] in locations)
            and (since is None or count.changed_at > since)
        ]
        kept.sort(key=lambda pair: (-self._shop.counts[pair].changed_at, pair))
        page, cursor = _page(kept, body.get("cursor"), _limit(body.get("limit"), 100, 1000))
        return {"counts": [self._shop.count_object(*pair) for pair in page]} | cursor

    def _changes(self, request: Request, body: Mapping[str, Any]) -> Answer:
        key = body.get("idempotency_key")
        if not isinstance(key, str) or not key:
            raise Refusal(400, "MISSING_REQUIRED_PARAMETER", "Missing required parameter.", "idempotency_key")
        if len(key) > 128:
            raise Refusal(400, "VALUE_TOO_LONG", "Field must not be greater than 128 in length.", "idempotency_key")
        asked = json.dumps(body, sort_keys=True)
        if key in self._stored:
            before, answer = self._stored[key]
            if before != asked:
                raise Refusal(400, "IDEMPOTENCY_KEY_REUSED", "The idempotency key can only be retried with the same request data.", "idempotency_key")
            return answer
        changes = body.get("changes") or []
        if len(changes) > 100:
            raise Refusal(400, "ARRAY_LENGTH_TOO_LONG", "Must contain at most 100 values.", "changes")
        parsed = [self._change(i, change) for i, change in enumerate(changes)]
        made = [self._carry_out(change, given) for change, given in zip(parsed, changes, strict=True)]
        touched = dict.fromkeys((change.sku, change.place) for change in parsed)
        answer = {"counts": [self._shop.count_object(*pair) for pair in touched], "changes": made}
        self._stored[key] = (asked, answer)
        return answer

    def _carry_out(self, change: Change, given: Answer) -> Answer:
        """The change as it is answered, with what the server adds to it."""
        if change.kind == "PHYSICAL_COUNT":
            self._shop.write(change.sku, change.place, change.quantity, change.at)
        else:
            self._shop.adjusted(change.sku, change.place, change.quantity, change.at)
        body = change.kind.lower()
        number = len(self._shop.book.writes) + len(self._shop.adjustments)
        added = {"id": f"{body[0].upper()}{number:09d}", "created_at": millis_z(self._shop.clock()), "catalog_object_type": "ITEM_VARIATION"}
        return {"type": change.kind, body: {**given[body], **added}}

    def _change(self, i: int, change: Any) -> Change:
        """One physical count or adjustment, checked. Transfers need a subscription that the seller does not have."""
        at = f"changes[{i}]"
        kind = change.get("type") if isinstance(change, dict) else None
        if kind not in ("PHYSICAL_COUNT", "ADJUSTMENT"):
            raise Refusal(400, "INVALID_ENUM_VALUE", "The seller has no subscription for this type of change, or it is none.", f"{at}.type")
        body, states = kind.lower(), ("state",) if kind == "PHYSICAL_COUNT" else ("from_state", "to_state")
        given, at = change.get(body), f"{at}.{body}"
        if not isinstance(given, dict):
            raise Refusal(400, "MISSING_REQUIRED_PARAMETER", "Missing required parameter.", at)
        for field in ("catalog_object_id", "location_id", "quantity", "occurred_at", *states):
            if not isinstance(given.get(field), str):
                raise Refusal(400, "MISSING_REQUIRED_PARAMETER", "Missing required parameter.", f"{at}.{field}")
        if len(given.get("reference_id") or "") > 255:
            raise Refusal(400, "VALUE_TOO_LONG", "Field must not be greater than 255 in length.", f"{at}.reference_id")
        sku, place = self._shop.sku_of(given["catalog_object_id"]), self._shop.place_of(given["location_id"])
        if sku is None:
            raise Refusal(404, "NOT_FOUND", "Catalog object not found.", f"{at}.catalog_object_id")
        if place is None:
            raise Refusal(404, "NOT_FOUND", "Location not found.", f"{at}.location_id")
        quantity, sign = _quantity(given["quantity"], at), _effect(tuple(given[state] for state in states), at)
        return Change(kind, sku, place, quantity * sign, self._moment(given["occurred_at"], at))

    def _moment(self, text: str, at: str) -> int:
        when, now = _time(text, f"{at}.occurred_at"), self._shop.clock()
        if when > now:
            raise Refusal(400, "INVALID_TIME", "occurred_at must not be in the future.", f"{at}.occurred_at")
        if when < now - DAY_MS:
            raise Refusal(400, "INVALID_TIME", "occurred_at must not be older than 24 hours.", f"{at}.occurred_at")
        return when


async def _body(request: Request) -> Mapping[str, Any]:
    if request.method != "POST":
        return {}
    try:
        body = json.loads(await request.body())
    except ValueError:
        raise Refusal(400, "EXPECTED_JSON_BODY", "The request body is not JSON.") from None
    if not isinstance(body, dict):
        raise Refusal(400, "EXPECTED_JSON_BODY", "The request body is not a JSON object.")
    return body


def _quantity(text: str, at: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 12:
        raise Refusal(400, "INVALID_VALUE", "quantity must be a whole number of at least 0, as a string.", f"{at}.quantity")
    return int(text)


def _effect(states: tuple[str, ...], at: str) -> int:
    """What one unit between these states is to IN_STOCK. Others than WRITABLE are read-only for the API."""
    if len(states) == 1:
        if states[0] != "IN_STOCK":
            raise Refusal(400, "INVALID_VALUE", "A physical count needs the state IN_STOCK.", f"{at}.state")
        return 1
    for name, state in zip(("from_state", "to_state"), states, strict=True):
        if state not in WRITABLE:
            raise Refusal(400, "INVALID_VALUE", f"Quantities cannot be moved to or from {state} by the API.", f"{at}.{name}")
    if states[0] == states[1] or "IN_STOCK" not in states or states[1] in ("NONE", "UNLINKED_RETURN") or states[0] in ("SOLD", "WASTE"):
        raise Refusal(400, "INVALID_VALUE", f"A quantity cannot go from {states[0]} to {states[1]}.", f"{at}.to_state")
    return 1 if states[1] == "IN_STOCK" else -1


def _time(text: Any, field: str) -> int:
    try:
        when = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise Refusal(400, "INVALID_TIME", "Not an RFC 3339 time.", field) from None
    if when.tzinfo is None:
        raise Refusal(400, "INVALID_TIME", "Not an RFC 3339 time.", field)
    return int((when.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000)


def _sorting(query: Mapping[str, Any]) -> tuple[str, bool]:
    """The field and direction of the order; a date filter must use the same field."""
    sort = query.get("sort") or {}
    field = str(sort.get("sort_field") or "CREATED_AT")
    if field not in ("CREATED_AT", "UPDATED_AT", "CLOSED_AT"):
        raise Refusal(400, "INVALID_ENUM_VALUE", "Not a valid sort field.", "query.sort.sort_field")
    dates = ((query.get("filter") or {}).get("date_time_filter")) or {}
    if len(dates) > 1:
        raise Refusal(400, "BAD_REQUEST", "Only one time range can be filtered by.", "query.filter.date_time_filter")
    if dates and field.lower() not in dates:
        raise Refusal(400, "BAD_REQUEST", "The sort_field must be the field of the date_time_filter.", "query.sort.sort_field")
    return field, str(sort.get("sort_order") or "DESC") == "DESC"


def _in_range(order: Order, query: Mapping[str, Any], field: str) -> bool:
    filters = query.get("filter") or {}
    states = (filters.get("state_filter") or {}).get("states")
    if states and "COMPLETED" not in states:
        return False
    span = ((filters.get("date_time_filter")) or {}).get(field.lower())
    if not span:
        return True
    start, end = span.get("start_at"), span.get("end_at")
    when = _when(order, field)
    return (not start or when >= _time(start, "start_at")) and (not end or when <= _time(end, "end_at"))


def _when(order: Order, field: str) -> int:
    return order.updated if field == "UPDATED_AT" else order.at


def _limit(given: Any, default: int, most: int) -> int:
    if given is None:
        return default
    if not isinstance(given, int) or isinstance(given, bool) or not 1 <= given <= most:
        raise Refusal(400, "INVALID_VALUE", f"limit must be between 1 and {most}.", "limit")
    return given


def _page(rows: Sequence[Any], cursor: Any, size: int) -> tuple[Sequence[Any], Answer]:
    """One page, and the cursor of the next as it stands in the answer (absent on the last page)."""
    start = _decode(cursor)[0] if cursor else 0
    if not isinstance(start, int):
        raise Refusal(400, "INVALID_CURSOR", "The cursor is not valid.", "cursor")
    end = start + size
    return rows[start:end], {"cursor": _encode([end])} if end < len(rows) else {}


def _order_cursor(cursor: Any) -> tuple[int, tuple[int, str]]:
    match _decode(cursor):
        case [int(until), int(when), str(order_id)]:
            return until, (when, order_id)
    raise Refusal(400, "INVALID_CURSOR", "The cursor is not valid.", "cursor")


def _encode(position: list[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode()


def _decode(cursor: Any) -> list[Any]:
    try:
        position = json.loads(base64.urlsafe_b64decode(str(cursor)))
    except ValueError:
        position = None
    if not isinstance(position, list) or not position:
        raise Refusal(400, "INVALID_CURSOR", "The cursor is not valid.", "cursor")
    return position
