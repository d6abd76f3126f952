"""The conformance kit on the fixtures beside this file."""

from connectors.shopify.connector import Shopify
from hub.sdk.testing import conformance

TestShopify = conformance(Shopify, fixtures=__file__)
