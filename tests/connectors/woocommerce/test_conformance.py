"""The conformance kit on the fixtures beside this file."""

from connectors.woocommerce.connector import WooCommerce
from hub.sdk.testing import conformance

TestWooCommerce = conformance(WooCommerce, fixtures=__file__)
