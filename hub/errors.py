"""The error's type is the next action.

CrossdockError
  Retry           the other side is busy or away: do the same again, not before `after` seconds
  Refuse          this one thing can never succeed: dead letter, go on with the next
  Reauthorize     credentials are not accepted: get new ones or tell the operator, keep the work
  Stop            going on would lose or double something: stop loudly, a person must look
  ConfigError     a setting is wrong: field, reason, example
"""

from __future__ import annotations


class CrossdockError(Exception):
    """Never raised itself."""


class Retry(CrossdockError):
    """Try the same thing again, not before `after` seconds (None: the caller's own back-off)."""

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class Refuse(CrossdockError):
    """This one thing can never succeed. `reason` is one of the closed list in docs/reference/try.md."""

    def __init__(self, message: str, reason: str = "unmapped") -> None:
        super().__init__(message)
        self.reason = reason


class Reauthorize(CrossdockError):
    """The channel no longer accepts our credentials."""


class Stop(CrossdockError):
    """A person must look before this part goes on."""


class ConfigError(CrossdockError):
    """A setting is wrong. Shown as `where: reason. Example: example`, never with the value of a secret."""

    def __init__(self, where: str, reason: str, example: str) -> None:
        super().__init__(f"{where}: {reason}. Example: {example}")
        self.where, self.reason, self.example = where, reason, example
