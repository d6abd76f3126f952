"""The conformance kit on the fixtures beside this file."""

from connectors.square.connector import Square
from hub.sdk.testing import conformance

TestSquare = conformance(Square, fixtures=__file__)
