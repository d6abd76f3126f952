"""The conformance kit on the fixtures beside this file."""

from connectors._example.connector import Example
from hub.sdk.testing import conformance

TestExample = conformance(Example, fixtures=__file__)
