"""Fill an empty shop: a member of staff, a country, two partners, three products."""

import django

django.setup()

from django.contrib.auth import get_user_model  # noqa: E402
from django.core.management import call_command  # noqa: E402
from oscar.core.loading import get_model  # noqa: E402

call_command("migrate", verbosity=0)
get_user_model().objects.create_superuser("hub", "hub@shop.example", "shop-password")
get_model("address", "Country").objects.create(iso_3166_1_a2="FR", printable_name="France", name="France", is_shipping_country=True)
goods = get_model("catalogue", "ProductClass").objects.create(name="Goods", track_stock=True)
lyon = get_model("partner", "Partner").objects.create(name="Lyon")
nice = get_model("partner", "Partner").objects.create(name="Nice")
for title, sku, stock in (("Blue mug", "MUG-BLUE", 10), ("Red mug", "MUG-RED", 0)):
    product = get_model("catalogue", "Product").objects.create(product_class=goods, title=title, upc=f"UPC-{sku}")
    get_model("partner", "StockRecord").objects.create(product=product, partner=lyon, partner_sku=sku, price="9.90", price_currency="EUR", num_in_stock=stock)
elsewhere = get_model("catalogue", "Product").objects.create(product_class=goods, title="Green mug", upc="UPC-MUG-GREEN")
get_model("partner", "StockRecord").objects.create(product=elsewhere, partner=nice, partner_sku="MUG-GREEN", price="9.90", price_currency="EUR", num_in_stock=5)
