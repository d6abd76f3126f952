"""WooCommerce's products and variations, made from the shop's state when they are asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from hub.demo.shops.shop import money
from hub.demo.shops.woocommerce_shape import dates, links

if TYPE_CHECKING:
    from hub.demo.shops.woocommerce import WooCommerce


def kind(shop: WooCommerce, number: int) -> str | None:
    """simple, variable, variation, or None when there is no such post."""
    text = str(number)
    if text in shop.natives.groups.values():
        return "variable"
    for native in shop.natives.items.values():
        if text == native["variation"]:
            return "variation"
        if text == native["product"]:
            return "simple"
    return None


def sku_of(shop: WooCommerce, number: int) -> str:
    """The SKU of a simple product or a variation."""
    return next(sku for sku, native in shop.natives.items.items() if str(number) in (native["variation"], native["product"]))


def top_level(shop: WooCommerce) -> list[int]:
    """Simple and variable products, each once."""
    return list(dict.fromkeys(int(native["product"]) for native in shop.natives.items.values()))


def numbers_of(shop: WooCommerce, skus: Iterable[str]) -> list[int]:
    """Products and variations with these SKUs."""
    found = [shop.natives.items[sku] for sku in skus if sku in shop.natives.items]
    return [int(native["product"] if native["variation"] == "0" else native["variation"]) for native in found]


def variations(shop: WooCommerce, parent: int) -> list[int]:
    """Variations of a product."""
    return [int(native["variation"]) for native in shop.natives.items.values() if native["product"] == str(parent) and native["variation"] != "0"]


def product(shop: WooCommerce, number: int) -> dict[str, Any]:
    """A product; a search by SKU also gives variations in this shape."""
    what, group = kind(shop, number), next((g for g, n in shop.natives.groups.items() if n == str(number)), None)
    if what == "variable" and group is not None:
        siblings = [p for p in shop.goods.values() if p.group == group]
        title, sku, price = group, "", money(min(p.cents for p in siblings))
        stock = {"manage_stock": False, "stock_quantity": None, "stock_status": _status(max(shop.stock[p.sku] for p in siblings))}
        attributes = [
            {"id": 6, "name": "Color", "slug": "pa_color", "position": 0, "visible": True, "variation": True, "options": [p.colour for p in siblings]}
        ]
        parent = 0
    else:
        sku = sku_of(shop, number)
        goods = shop.goods[sku]
        title, price, attributes = goods.title.capitalize(), money(goods.cents), []
        stock = _stock(shop, sku)
        parent = int(shop.natives.items[sku]["product"]) if what == "variation" else 0
    slug = f"{title.lower().replace(' ', '-')}-{number}"
    return {
        "id": number, "name": title, "slug": slug, "permalink": f"https://shop.example.com/product/{slug}/", **_dates(shop, sku), "type": what,
        "status": "publish", "featured": False, "catalog_visibility": "visible", "description": "", "short_description": "", "sku": sku,
        **_price(price), "price_html": price, **_common(shop), "total_sales": 0, "external_url": "", "button_text": "", **stock,
        "sold_individually": False, "shipping_required": True, "shipping_taxable": True, "reviews_allowed": True, "average_rating": "0.00",
        "rating_count": 0, "related_ids": [], "upsell_ids": [], "cross_sell_ids": [], "parent_id": parent, "purchase_note": "", "categories": [], "tags": [],
        "images": [], "attributes": attributes, "default_attributes": [], "variations": variations(shop, number), "grouped_products": [], "menu_order": 0,
        "meta_data": [], "_links": links(f"products/{number}", "products"),
    }  # fmt: skip


def variation(shop: WooCommerce, number: int) -> dict[str, Any]:
    """A variation in its own endpoint's shape."""
    sku = sku_of(shop, number)
    goods, parent = shop.goods[sku], shop.natives.items[sku]["product"]
    own, collection = f"products/{parent}/variations/{number}", f"products/{parent}/variations"
    return {
        "id": number, **_dates(shop, sku), "description": "", "permalink": f"https://shop.example.com/product/{parent}/?attribute_pa_color={goods.colour}",
        "sku": sku, **_price(money(goods.cents)), **_common(shop), "status": "publish", **_stock(shop, sku), "image": None,
        "attributes": [{"id": 6, "name": "Color", "slug": "pa_color", "option": goods.colour}], "menu_order": 0, "meta_data": [],
        "_links": links(own, collection, up=f"products/{parent}"),
    }  # fmt: skip


def _dates(shop: WooCommerce, sku: str) -> dict[str, Any]:
    return {**dates("created", shop.opened_at), **dates("modified", shop.changed_at.get(sku, shop.opened_at))}


def _price(price: str) -> dict[str, Any]:
    return {
        "price": price, "regular_price": price, "sale_price": "", "date_on_sale_from": None, "date_on_sale_from_gmt": None, "date_on_sale_to": None,
        "date_on_sale_to_gmt": None, "on_sale": False,
    }  # fmt: skip


def _common(shop: WooCommerce) -> dict[str, Any]:
    return {
        "purchasable": True, "virtual": False, "downloadable": False, "downloads": [], "download_limit": -1, "download_expiry": -1,
        "tax_status": "taxable", "tax_class": "", "weight": "0.4", "dimensions": {"length": "", "width": "", "height": ""},
        "shipping_class": "", "shipping_class_id": 0, "backorders": "no", "backorders_allowed": False, "backordered": False,
    }  # fmt: skip


def _stock(shop: WooCommerce, sku: str) -> dict[str, Any]:
    return {"manage_stock": True, "stock_quantity": shop.stock[sku], "stock_status": _status(shop.stock[sku])}


def _status(quantity: int) -> str:
    return "instock" if quantity > 0 else "outofstock"
