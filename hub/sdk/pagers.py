"""Positions of polls: a struct as JSON text, so that a page and where to go on are stored together."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from hub.errors import Stop
from hub.sdk.talk import Response
from hub.sdk.time import date_of

P = TypeVar("P")


class Round(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a poll that asks for "what changed since" stands.

    since   lower bound of this round (ms); None in the very first one
    cursor  the channel's cursor inside the round, or a page number; empty at its beginning
    mark    the channel's clock when the round began, taken with its first page: nothing that changes during the round is lost
    latest  newest change seen in this round, for channels that send no Date
    """

    since: int | None = None
    cursor: str = ""
    mark: int | None = None
    latest: int | None = None

    def opened(self, response: Response, latest: int | None) -> Round:
        """With what this page's answer says about time."""
        mark = self.mark if self.cursor else date_of(response)
        seen = [moment for moment in (self.latest, latest) if moment is not None]
        return Round(since=self.since, cursor=self.cursor, mark=mark, latest=max(seen, default=None))

    def at(self, cursor: str) -> Round:
        """Further inside the round. A cursor that comes back unchanged would be read for ever: a person must look."""
        if cursor == self.cursor:
            raise Stop("the channel answered with the cursor it was asked with")
        return Round(since=self.since, cursor=cursor, mark=self.mark, latest=self.latest)

    def closed(self, overlap: int) -> Round:
        """The next round. It begins `overlap` ms before this one did: changes that became visible late are read again."""
        if self.mark is not None:
            return Round(since=self.mark - overlap)
        if self.latest is not None:
            return Round(since=self.latest - overlap)
        return Round(since=self.since)


def load(kind: type[P], position: str | None, first: P) -> P:
    """The position read back; `first` for the very first read. One that cannot be read was not written by this connector."""
    if position is None:
        return first
    try:
        return msgspec.json.decode(position, type=kind)
    except msgspec.DecodeError as error:
        raise Stop("the stored position is not this connector's") from error


def dump(position: object) -> str:
    """The position as text."""
    return msgspec.json.encode(position).decode()
