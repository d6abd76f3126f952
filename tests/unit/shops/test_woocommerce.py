"""WooCommerce's double: what it answers, what it refuses, what it sends."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest

from hub.demo.shops.catalogue import products
from hub.demo.shops.shop import Sale, seconds_z
from hub.demo.shops.spec import Faults
from tests.unit.shops.kit import T0, Kit

GOODS = products(7, 40)
VARIATION = next(p.sku for p in GOODS if p.group == "Mug")
SIMPLE = next(p.sku for p in GOODS if p.group == "Plate")


def paths(kit: Kit, sku: str) -> tuple[str, int]:
    """The endpoint that writes the SKU, and its id."""
    native = kit.shops["woocommerce"].natives.items[sku]
    if native["variation"] == "0":
        return f"/products/{native['product']}", int(native["product"])
    return f"/products/{native['product']}/variations/{native['variation']}", int(native["variation"])


def sell(kit: Kit, sku: str = SIMPLE, units: int = 1, index: int = 1) -> Any:
    """One order; the shop is given enough first."""
    shop = kit.shops["woocommerce"]
    shop.write(sku, 50)  # type: ignore[attr-defined]
    order = shop.sell(Sale(index, "dc", ((shop.goods[sku], units),), 3))
    assert order is not None
    return order


@pytest.mark.parametrize(
    ("auth", "message"),
    [
        (("", ""), "Sorry, you cannot list resources."),
        (("ck_wrong", "cs_demo"), "Consumer key is invalid."),
        (("ck_demo", "cs_wrong"), "Consumer secret is invalid."),
    ],
)
def test_wrong_credentials_are_refused(auth: tuple[str, str], message: str) -> None:
    """401 in the shape of WordPress."""
    answer = Kit().woo("GET", "/orders", auth=auth)
    assert answer.status_code == 401
    assert answer.json()["message"] == message
    assert answer.json()["data"] == {"status": 401}


def test_credentials_may_stand_in_the_query() -> None:
    """For hosts that strip the Authorization header; a broken header is no credential."""
    kit = Kit()
    url = "http://woocommerce.test/wp-json/wc/v3/orders"
    assert kit.client.get(url, params={"consumer_key": "ck_demo", "consumer_secret": "cs_demo"}).status_code == 200
    assert kit.client.get(url, headers={"Authorization": "Basic ???"}).status_code == 401


def test_it_limits_by_chance() -> None:
    """A probability of the spec makes any request meet the host's limit."""
    assert Kit(faults=Faults(rate_limited=1)).woo("GET", "/orders").status_code == 429


@pytest.mark.parametrize(
    "params", [{"per_page": "101"}, {"per_page": "0"}, {"page": "0"}, {"page": "x"}, {"orderby": "colour"}, {"order": "up"}, {"modified_after": "soon"}]
)
def test_wrong_parameters_are_refused(params: dict[str, Any]) -> None:
    """400 rest_invalid_param naming the parameter."""
    answer = Kit().woo("GET", "/orders", **params)
    assert (answer.status_code, answer.json()["code"]) == (400, "rest_invalid_param")
    assert list(answer.json()["data"]["params"]) == list(params)


@pytest.mark.parametrize("sku", [SIMPLE, VARIATION])
def test_stock_is_written_one_by_one(sku: str) -> None:
    """Absolute, at the product's or variation's own endpoint; the answer shows it; without a number nothing changes."""
    kit = Kit()
    path, number = paths(kit, sku)
    answer = kit.woo("PUT", path, {"manage_stock": True, "stock_quantity": 7}).json()
    assert (answer["id"], answer["sku"], answer["stock_quantity"], answer["stock_status"]) == (number, sku, 7, "instock")
    assert kit.woo("PUT", path, {"regular_price": "9.00"}).json()["stock_quantity"] == 7
    assert kit.woo("PUT", path, {"stock_quantity": 0}).json()["stock_status"] == "outofstock"
    assert kit.woo("GET", path).json()["stock_quantity"] == 0
    assert [w.quantity for w in kit.shops["woocommerce"].book.writes] == [7, 0]


@pytest.mark.parametrize("value", ["seven", 1.5, True, [1]])
def test_a_wrong_stock_number_is_refused(value: Any) -> None:
    """400, and nothing is written."""
    kit = Kit()
    path, _ = paths(kit, SIMPLE)
    assert kit.woo("PUT", path, {"stock_quantity": value}).json()["code"] == "rest_invalid_param"
    assert not kit.shops["woocommerce"].book.writes


def test_a_variation_is_not_written_as_a_product() -> None:
    """The vendor sends such a request to the other endpoint; unknown ids are 404."""
    kit = Kit()
    _, number = paths(kit, VARIATION)
    answer = kit.woo("PUT", f"/products/{number}", {"stock_quantity": 7})
    assert (answer.status_code, answer.json()["code"]) == (404, "woocommerce_rest_invalid_product_id")
    simple = paths(kit, SIMPLE)[0]
    for path in ("/products/1", "/products/1/variations", f"{simple}/variations/{number}", "/orders/1"):
        assert kit.woo("GET", path).status_code == 404
    assert kit.woo("PUT", f"{simple}/variations/{number}", {"stock_quantity": 1}).status_code == 404


def test_batches_fail_object_by_object() -> None:
    """One wrong object leaves the others written; more than a hundred are refused whole."""
    kit = Kit()
    _, simple = paths(kit, SIMPLE)
    path, variation = paths(kit, VARIATION)
    answer = kit.woo("POST", "/products/batch", {"update": [{"id": simple, "stock_quantity": 3}, {"id": variation, "stock_quantity": 3}, {"id": 1}, {}]})
    assert answer.status_code == 200
    done = answer.json()["update"]
    assert done[0]["stock_quantity"] == 3
    assert [one["error"]["code"] for one in done[1:]] == [
        "woocommerce_rest_invalid_product_id",
        "woocommerce_rest_product_invalid_id",
        "rest_missing_callback_param",
    ]
    parent = path.rsplit("/", 1)[0]
    done = kit.woo("POST", f"{parent}/batch", {"update": [{"id": variation, "stock_quantity": 4}, {"id": simple, "stock_quantity": 4}]}).json()["update"]
    assert done[0]["stock_quantity"] == 4
    assert done[1]["error"]["data"]["status"] == 404
    assert kit.woo("POST", "/products/batch", {"update": [{"id": 1}] * 101}).status_code == 413
    assert kit.woo("POST", "/products/batch", {"delete": [1]}).status_code == 501
    assert (
        kit.client.post("http://woocommerce.test/wp-json/wc/v3/products/batch", content=b"x", auth=("ck_demo", "cs_demo")).json()["code"] == "rest_invalid_json"
    )


def test_orders_are_listed_by_modification_in_whole_seconds() -> None:
    """modified_after is strictly after, in seconds, in the site's zone unless dates_are_gmt; totals stand in headers."""
    kit = Kit()
    kit.now = T0 + 700
    first = sell(kit)
    kit.now = T0 + 2000
    second = sell(kit, index=2)
    stamp = seconds_z(T0)[:-1]

    def ids(**params: Any) -> list[int]:
        return [o["id"] for o in kit.woo("GET", "/orders", orderby="modified", order="asc", **params).json()]

    assert ids() == [int(first.id), int(second.id)]
    assert ids(modified_after=stamp, dates_are_gmt="true") == [int(second.id)]
    assert ids(modified_after=stamp) == [int(first.id), int(second.id)]
    assert ids(modified_after=stamp + "Z") == [int(second.id)]
    assert ids(status="cancelled") == []
    page = kit.woo("GET", "/orders", per_page="1", page="1")
    assert (page.headers["x-wp-total"], page.headers["x-wp-totalpages"]) == ("2", "2")
    assert 'rel="next"' in page.headers["link"]
    order = page.json()[0]
    assert order["date_modified_gmt"] == seconds_z(T0 + 2000)[:-1] != order["date_modified"]


def test_every_product_is_listed_once() -> None:
    """Simple and variable products in one list, variations below their parent; a search by SKU finds all kinds."""
    kit = Kit()
    found: list[str] = []
    page = 1
    while rows := kit.woo("GET", "/products", per_page="7", page=str(page), orderby="id", order="asc").json():
        for product in rows:
            if product["type"] == "variable":
                below = kit.woo("GET", f"/products/{product['id']}/variations", per_page="100").json()
                assert sorted(v["id"] for v in below) == sorted(product["variations"])
                found += [v["sku"] for v in below]
            else:
                found.append(product["sku"])
        page += 1
    assert sorted(found) == sorted(kit.shops["woocommerce"].goods)
    assert {p["sku"] for p in kit.woo("GET", "/products", sku=f"{SIMPLE},{VARIATION}").json()} == {SIMPLE, VARIATION}
    assert {p["type"] for p in kit.woo("GET", "/products", type="simple").json()} == {"simple"}
    path, number = paths(kit, VARIATION)
    assert [v["id"] for v in kit.woo("GET", path.rsplit("/", 1)[0], include=str(number)).json()] == [number]
    some = kit.woo("GET", "/products").json()[0]["id"]
    assert [p["id"] for p in kit.woo("GET", "/products", include=str(some)).json()] == [some]


def test_webhooks_are_signed_and_their_delivery_id_is_no_key() -> None:
    """Base64 HMAC-SHA256 over the body; two orders of one second share the delivery id, a repeat has another."""
    kit = Kit()
    one, two = sell(kit), sell(kit, VARIATION, 2, index=2)
    hooks = [w for w in kit.sent if w.headers.get("X-WC-Webhook-Topic") == "order.created"]
    for hook in hooks:
        wanted = base64.b64encode(hmac.new(kit.spec.secrets.woocommerce_webhook_secret.encode(), hook.body, hashlib.sha256).digest()).decode()
        assert hook.headers["X-WC-Webhook-Signature"] == wanted
    assert [json.loads(h.body)["id"] for h in hooks] == [int(one.id), int(two.id)]
    assert len({h.headers["X-WC-Webhook-Delivery-ID"] for h in hooks}) == 1
    assert hooks[0].again(1)["X-WC-Webhook-Delivery-ID"] != hooks[0].headers["X-WC-Webhook-Delivery-ID"]
    line = json.loads(hooks[1].body)["line_items"][0]
    assert (line["variation_id"], line["quantity"]) == (paths(kit, VARIATION)[1], 2)
    assert json.loads(hooks[0].body)["line_items"][0]["variation_id"] == 0


def test_opening_the_shop_pings() -> None:
    """An unsigned form for every webhook, once."""
    kit = Kit()
    for _ in range(2):
        kit.client.post("http://shopify.test/_world/start")
    pings = [w for w in kit.sent if not w.body.startswith(b"{")]
    assert [p.body for p in pings] == [b"webhook_id=142", b"webhook_id=143"]
    assert all("X-WC-Webhook-Signature" not in p.headers and p.headers["Content-Type"] == "application/x-www-form-urlencoded" for p in pings)
