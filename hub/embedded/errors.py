"""The one error of the embedded servers."""

from __future__ import annotations

from hub.errors import CrossdockError


class EmbeddedError(CrossdockError):
    """An embedded server cannot be fetched or started. The message says what was expected and what to do."""
