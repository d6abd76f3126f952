"""Simulated shops: real HTTP servers that speak Shopify's, Square's and WooCommerce's language and sell one stock.

They are doubles to test against, so they know nothing of the hub: no import from connectors, streams or the rest of hub.
What they answer is checked in tests/contract against the vendors' own specifications.
"""
