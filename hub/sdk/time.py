"""Moments: RFC 3339 in and out, HTTP's Date. Milliseconds since 1970, UTC, everywhere; there is no clock here."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from hub.errors import Refuse
from hub.sdk.talk import Response

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)


def millis(text: str) -> int:
    """RFC 3339 to milliseconds. A moment without zone is UTC (vendors' `_gmt` fields). Refuse('unmapped') for anything else."""
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return (moment - EPOCH) // MILLISECOND
    except (ValueError, OverflowError) as error:
        raise Refuse("a time that is not RFC 3339", "unmapped") from error


def rfc3339(moment: int) -> str:
    """Milliseconds to `2026-11-01T09:00:00.000Z`."""
    return (EPOCH + moment * MILLISECOND).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def date_of(response: Response) -> int | None:
    """The channel's own clock from HTTP's Date header; None where it sends none or nonsense."""
    try:
        moment = parsedate_to_datetime(response.headers.get("date", ""))
    except ValueError:
        return None
    return (moment.replace(tzinfo=moment.tzinfo or UTC) - EPOCH) // MILLISECOND
