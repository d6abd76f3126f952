"""The conformance kit on the fixtures beside this file."""

from connectors.django_oscar.connector import DjangoOscar
from hub.sdk.testing import conformance

TestDjangoOscar = conformance(DjangoOscar, fixtures=__file__)
