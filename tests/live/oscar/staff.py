"""What a shop's staff does in the dashboard: `staff.py <order number> Shipped|Cancelled`."""

import sys

import django

django.setup()

from oscar.core.loading import get_class, get_model  # noqa: E402

number, status = sys.argv[1:]
order = get_model("order", "Order").objects.get(number=number)
handler = get_class("order.processing", "EventHandler")()
order.set_status(status)
if status == "Shipped":
    handler.consume_stock_allocations(order)
else:
    handler.cancel_stock_allocations(order)
