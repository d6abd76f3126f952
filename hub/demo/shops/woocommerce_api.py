"""WooCommerce's REST API v3 as far as a hub needs it: orders, products, variations, batches.

The real one takes basic auth over HTTPS only; the double stands for a shop behind a TLS proxy.
"""

from __future__ import annotations

import base64
import hmac
import json
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hub.demo.shops import woocommerce_product
from hub.demo.shops.woocommerce_shape import SITE_OFFSET_MS, status

if TYPE_CHECKING:
    from hub.demo.shops.woocommerce import WooCommerce

BASE = "/wp-json/wc/v3"
LARGEST_PAGE = 100
LARGEST_BATCH = 100


class Refusal(Exception):
    """An error answer in the shape of WordPress."""

    def __init__(self, status: int, code: str, message: str, **data: Any) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.data = status, code, message, data

    def body(self) -> dict[str, Any]:
        """code, message, data."""
        return {"code": self.code, "message": self.message, "data": {"status": self.status, **self.data}}


class Listed:
    """A page of a collection, with the totals that go into headers."""

    def __init__(self, request: Request, rows: Sequence[Any], show: Callable[[Any], Any]) -> None:
        size, page = _whole(request, "per_page", 10, LARGEST_PAGE), _whole(request, "page", 1, None)
        pages = math.ceil(len(rows) / size)
        self.content = [show(row) for row in rows[(page - 1) * size : page * size]]
        self.headers = {"X-WP-Total": str(len(rows)), "X-WP-TotalPages": str(pages)}
        near = {"prev": page - 1 if page > 1 else None, "next": page + 1 if page < pages else None}
        links = [f'<{request.url.include_query_params(page=n)}>; rel="{rel}"' for rel, n in near.items() if n]
        if links:
            self.headers["Link"] = ", ".join(links)


Handler = Callable[[Request, Mapping[str, Any]], Any]


class Api:
    """Routes and answers."""

    def __init__(self, shop: WooCommerce) -> None:
        self._shop = shop

    def routes(self) -> list[Route]:
        """The endpoints."""
        one, parent = BASE + "/products/{id:int}", BASE + "/products/{parent:int}/variations"
        return [
            Route(BASE + "/orders", self._guard(self._orders), methods=["GET"]),
            Route(BASE + "/orders/{id:int}", self._guard(self._order), methods=["GET"]),
            Route(BASE + "/products", self._guard(self._products), methods=["GET"]),
            Route(BASE + "/products/batch", self._guard(self._batch_products), methods=["POST", "PUT", "PATCH"]),
            Route(one, self._guard(self._product), methods=["GET"]),
            Route(one, self._guard(self._put_product), methods=["POST", "PUT", "PATCH"]),
            Route(parent, self._guard(self._variations), methods=["GET"]),
            Route(parent + "/batch", self._guard(self._batch_variations), methods=["POST", "PUT", "PATCH"]),
            Route(parent + "/{id:int}", self._guard(self._variation), methods=["GET"]),
            Route(parent + "/{id:int}", self._guard(self._put_variation), methods=["POST", "PUT", "PATCH"]),
        ]

    def _guard(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            try:
                self._authorize(request)
                made = handler(request, await _body(request))
            except Refusal as refusal:
                return JSONResponse(refusal.body(), refusal.status)
            return JSONResponse(made.content, headers=made.headers) if isinstance(made, Listed) else JSONResponse(made)

        return answer

    def _authorize(self, request: Request) -> None:
        key, secret = _credentials(request)
        secrets = self._shop.spec.secrets
        if not key:
            raise Refusal(401, "woocommerce_rest_cannot_view", "Sorry, you cannot list resources.")
        if not hmac.compare_digest(key.encode(), secrets.woocommerce_key.encode()):
            raise Refusal(401, "woocommerce_rest_authentication_error", "Consumer key is invalid.")
        if not hmac.compare_digest(secret.encode(), secrets.woocommerce_secret.encode()):
            raise Refusal(401, "woocommerce_rest_authentication_error", "Consumer secret is invalid.")
        if self._shop.limited():
            raise Refusal(429, "too_many_requests", "Too many requests.")

    def _orders(self, request: Request, body: Mapping[str, Any]) -> Listed:
        """Times are kept in whole seconds, and `after` means after."""
        query = request.query_params
        after, modified_after = self._asked(request, "after"), self._asked(request, "modified_after")
        before, modified_before = self._asked(request, "before"), self._asked(request, "modified_before")
        states = set((query.get("status") or "any").split(","))
        rows = [
            order
            for order in self._shop.book.orders.values()
            if ("any" in states or status(order) in states)
            and (after is None or order.at // 1000 > after)
            and (before is None or order.at // 1000 < before)
            and (modified_after is None or order.updated // 1000 > modified_after)
            and (modified_before is None or order.updated // 1000 < modified_before)
        ]
        by = _choice(request, "orderby", "date", ("date", "id", "include", "title", "slug", "modified"))
        newest = _choice(request, "order", "desc", ("asc", "desc")) == "desc"
        sort = {"modified": lambda o: (o.updated // 1000, int(o.id)), "date": lambda o: (o.at // 1000, int(o.id))}
        rows.sort(key=sort.get(by, lambda o: (0, int(o.id))), reverse=newest)
        return Listed(request, rows, self._shop.order_object)

    def _asked(self, request: Request, name: str) -> int | None:
        """A time of the query as whole seconds; without a zone it is the site's, unless dates_are_gmt."""
        text = request.query_params.get(name)
        if not text:
            return None
        try:
            when = datetime.fromisoformat(text)
        except ValueError:
            raise _invalid(name, "Invalid date.") from None
        if when.tzinfo is not None:
            return int(when.timestamp())
        seconds = int(when.replace(tzinfo=UTC).timestamp())
        return seconds if request.query_params.get("dates_are_gmt") in ("true", "1") else seconds - SITE_OFFSET_MS // 1000

    def _order(self, request: Request, body: Mapping[str, Any]) -> Any:
        order = self._shop.book.orders.get(str(request.path_params["id"]))
        if order is None:
            raise Refusal(404, "woocommerce_rest_shop_order_invalid_id", "Invalid ID.")
        return self._shop.order_object(order)

    def _products(self, request: Request, body: Mapping[str, Any]) -> Listed:
        """Variations are not in this list, except that a search by SKU finds them."""
        query = request.query_params
        skus = {sku for sku in (query.get("sku") or "").split(",") if sku}
        include = {text for text in (query.get("include") or "").split(",") if text}
        numbers = [n for n in woocommerce_product.top_level(self._shop) if not include or str(n) in include]
        if skus:
            numbers = [n for n in woocommerce_product.numbers_of(self._shop, skus) if not include or str(n) in include]
        if query.get("type"):
            numbers = [n for n in numbers if woocommerce_product.kind(self._shop, n) == query["type"]]
        by = _choice(request, "orderby", "date", ("date", "modified", "id", "include", "title", "slug", "price", "popularity", "rating", "menu_order"))
        numbers.sort(reverse=_choice(request, "order", "asc" if by in ("title", "slug") else "desc", ("asc", "desc")) == "desc")
        return Listed(request, numbers, lambda n: woocommerce_product.product(self._shop, n))

    def _product(self, request: Request, body: Mapping[str, Any]) -> Any:
        number = request.path_params["id"]
        if woocommerce_product.kind(self._shop, number) is None:
            raise Refusal(404, "woocommerce_rest_product_invalid_id", "Invalid ID.")
        return woocommerce_product.product(self._shop, number)

    def _put_product(self, request: Request, body: Mapping[str, Any]) -> Any:
        return self._write_product(request.path_params["id"], body)

    def _write_product(self, number: int, body: Mapping[str, Any]) -> Any:
        kind = woocommerce_product.kind(self._shop, number)
        if kind is None:
            raise Refusal(404, "woocommerce_rest_product_invalid_id", "Invalid ID.")
        if kind == "variation":
            message = "To manipulate product variations you should use the /products/&lt;product_id&gt;/variations/&lt;id&gt; endpoint."
            raise Refusal(404, "woocommerce_rest_invalid_product_id", message)
        quantity = _stock(body)
        if quantity is not None and kind == "simple":
            self._shop.write(woocommerce_product.sku_of(self._shop, number), quantity)
        return woocommerce_product.product(self._shop, number)

    def _variations(self, request: Request, body: Mapping[str, Any]) -> Listed:
        include = {text for text in (request.query_params.get("include") or "").split(",") if text}
        numbers = [n for n in self._variations_of(request) if not include or str(n) in include]
        return Listed(request, sorted(numbers, reverse=True), lambda n: woocommerce_product.variation(self._shop, n))

    def _variations_of(self, request: Request) -> Sequence[int]:
        parent = request.path_params["parent"]
        if woocommerce_product.kind(self._shop, parent) not in ("variable", "simple"):
            raise Refusal(404, "woocommerce_rest_product_invalid_id", "Invalid ID.")
        return woocommerce_product.variations(self._shop, parent)

    def _variation(self, request: Request, body: Mapping[str, Any]) -> Any:
        if request.path_params["id"] not in self._variations_of(request):
            raise Refusal(404, "woocommerce_rest_product_variation_invalid_id", "Invalid ID.")
        return woocommerce_product.variation(self._shop, request.path_params["id"])

    def _put_variation(self, request: Request, body: Mapping[str, Any]) -> Any:
        return self._write_variation(self._variations_of(request), request.path_params["id"], body)

    def _write_variation(self, siblings: Sequence[int], number: int, body: Mapping[str, Any]) -> Any:
        if number not in siblings:
            raise Refusal(404, "woocommerce_rest_product_variation_invalid_id", "Invalid ID.")
        quantity = _stock(body)
        if quantity is not None:
            self._shop.write(woocommerce_product.sku_of(self._shop, number), quantity)
        return woocommerce_product.variation(self._shop, number)

    def _batch_products(self, request: Request, body: Mapping[str, Any]) -> Any:
        return _batch(body, self._write_product)

    def _batch_variations(self, request: Request, body: Mapping[str, Any]) -> Any:
        siblings = self._variations_of(request)
        return _batch(body, lambda number, one: self._write_variation(siblings, number, one))


async def _body(request: Request) -> Mapping[str, Any]:
    if request.method == "GET":
        return {}
    try:
        body = json.loads(await request.body())
    except ValueError:
        raise Refusal(400, "rest_invalid_json", "Invalid JSON body passed.") from None
    if not isinstance(body, dict):
        raise Refusal(400, "rest_invalid_json", "Invalid JSON body passed.")
    return body


def _credentials(request: Request) -> tuple[str, str]:
    """Basic auth, or the query string for hosts that strip the header."""
    header = request.headers.get("authorization", "")
    if header.lower().startswith("basic "):
        try:
            key, _, secret = base64.b64decode(header[6:], validate=True).decode().partition(":")
        except ValueError:
            return "", ""
        return key, secret
    return request.query_params.get("consumer_key", ""), request.query_params.get("consumer_secret", "")


def _invalid(name: str, reason: str) -> Refusal:
    return Refusal(400, "rest_invalid_param", f"Invalid parameter(s): {name}", params={name: reason})


def _whole(request: Request, name: str, default: int, most: int | None) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    between = f"{name} must be between 1 (inclusive) and {most} (inclusive)" if most else f"{name} must be greater than or equal to 1"
    if not text.isascii() or not text.isdigit() or int(text) < 1 or (most is not None and int(text) > most):
        raise _invalid(name, between)
    return int(text)


def _choice(request: Request, name: str, default: str, known: Sequence[str]) -> str:
    value = request.query_params.get(name, default)
    if value not in known:
        raise _invalid(name, f"{name} is not one of {', '.join(known)}.")
    return value


def _stock(body: Mapping[str, Any]) -> int | None:
    """The stock number of a write; null and absent change nothing. Numbers as strings are taken, as WordPress does."""
    value = body.get("stock_quantity")
    if value is None or body.get("manage_stock") is False:
        return None
    if isinstance(value, str) and value.lstrip("-").isdigit():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise _invalid("stock_quantity", "stock_quantity is not of type integer.")
    return value


def _batch(body: Mapping[str, Any], write: Callable[[int, Mapping[str, Any]], Any]) -> dict[str, Any]:
    """Each object succeeds or fails by itself; the whole answers 200."""
    if sum(len(body.get(verb) or ()) for verb in ("create", "update", "delete")) > LARGEST_BATCH:
        raise Refusal(413, "woocommerce_rest_request_entity_too_large", f"Unable to accept more than {LARGEST_BATCH} items for this request.")
    if body.get("create") or body.get("delete"):
        raise Refusal(501, "not_simulated", "The simulated shop updates only.")
    done = []
    for one in body.get("update") or ():
        number = one.get("id") if isinstance(one, dict) else None
        try:
            if not isinstance(number, int):
                raise Refusal(400, "rest_missing_callback_param", "Missing parameter(s): id")
            done.append(write(number, one))
        except Refusal as refusal:
            done.append({"id": number, "error": refusal.body()})
    return {"update": done}
