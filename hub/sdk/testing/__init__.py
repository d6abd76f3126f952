"""The conformance kit: what every connector must hold, from fixtures beside its test.

TestShopify = conformance(Shopify, fixtures=__file__)

"""

from hub.sdk.testing.cassette import Cassette, MismatchError
from hub.sdk.testing.conformance import conformance
from hub.sdk.testing.lookup import PlainLookup
from hub.sdk.testing.openssl import openssl_hmac_base64

__all__ = ["Cassette", "MismatchError", "PlainLookup", "conformance", "openssl_hmac_base64"]
