"""Reservations over HTTP: hold, extend, post, void. Every one is safe to repeat under the same id."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, HTTPException, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Engine

from hub.api.desk import Desk, Slow, clock
from hub.api.stock import NotThere, identify, kit_of
from hub.errors import Retry
from schemas.records import Answer, Reserve
from schemas.records.stock import ReserveAction
from streams.places import Places

Id = Annotated[str, Field(min_length=1, max_length=200)]
Seconds = Annotated[int, Field(ge=1, le=30 * 24 * 3600)]
MOST = 1_000_000


class Command(BaseModel):
    """What every command names."""

    model_config = ConfigDict(extra="forbid")
    sku: Annotated[str, Field(min_length=1, max_length=256)]


class HoldCommand(Command):
    """All that is to be held, absolute. Places: by name in order of preference, or those of a channel, or all."""

    owner: Id
    quantity: Annotated[int, Field(ge=1, le=MOST)] = 1
    locations: list[str] | None = None
    channel: str | None = None
    seconds: Seconds | None = None


class ExtendCommand(Command):
    """Seconds from now."""

    seconds: Seconds


class PostCommand(Command):
    """The order that takes the units over, such as shopify:1042; seconds for which they wait for it."""

    order_id: Id
    seconds: Seconds | None = None


class Units(BaseModel):
    """Units at one place."""

    location: str
    quantity: int


class Reservation(BaseModel):
    """What holds now. `fits`: the last command could be done in full; else `free` (asked for) and `next_best` (elsewhere) say where there is some."""

    reservation_id: str
    sku: str
    status: Literal["refused", "pending", "posted", "voided", "expired"]
    fits: bool
    held: dict[str, int]
    free: list[Units]
    next_best: list[Units]
    at: datetime


def router(engine: Engine, places: Places, desk: Desk) -> APIRouter:
    """The four operations."""
    made = APIRouter()
    now = clock()

    async def ask(
        reservation_id: str,
        sku: str,
        action: ReserveAction,
        response: Response,
        *,
        good: str,
        owner: str = "-",
        quantity: int = 0,
        locations: tuple[str, ...] = (),
        seconds: int | None = None,
    ) -> Reservation:
        at = now()
        command = Reserve(
            reservation_id=reservation_id,
            owner=owner,
            sku=_known(engine, places, sku),
            quantity=quantity,
            locations=locations,
            action=action,
            expires_at=None if seconds is None else at + seconds * 1000,
            at=at,
        )
        try:
            said = await desk.ask(command)
        except Slow as error:
            raise HTTPException(504, f"{error}; ask again with the same id to know") from None
        except Retry as error:
            raise HTTPException(503, str(error), {"Retry-After": "1"}) from None
        response.status_code = 200 if said.reservation == good and said.verdict == "held" else 409
        return _shown(said)

    @made.put("/reservations/{reservation_id}", summary="Hold units for a while", responses={409: {"model": Reservation}})
    async def hold(reservation_id: Id, body: HoldCommand, response: Response) -> Reservation:
        """All or none. 409: not there; the answer names the next best places. The same id again changes the hold or extends it."""
        wanted = _wanted(places, body)
        return await ask(
            reservation_id, body.sku, "hold", response, good="pending", owner=body.owner, quantity=body.quantity, locations=wanted, seconds=body.seconds
        )

    @made.post("/reservations/{reservation_id}/extend", summary="Hold them longer", responses={409: {"model": Reservation}})
    async def extend(reservation_id: Id, body: ExtendCommand, response: Response) -> Reservation:
        """409: it has ended, or never was."""
        return await ask(reservation_id, body.sku, "extend", response, good="pending", seconds=body.seconds)

    @made.post("/reservations/{reservation_id}/post", summary="They have been bought", responses={409: {"model": Reservation}})
    async def post(reservation_id: Id, body: PostCommand, response: Response) -> Reservation:
        """The order's claim takes the units over when it arrives. 409: the hold has ended before; the order is taken all the same."""
        return await ask(reservation_id, body.sku, "post", response, good="posted", owner=body.order_id, seconds=body.seconds)

    @made.delete("/reservations/{reservation_id}", summary="Give them back", responses={409: {"model": Reservation}})
    async def void(reservation_id: Id, sku: str, response: Response) -> Reservation:
        """409: it was bought, or has expired."""
        return await ask(reservation_id, sku, "void", response, good="voided")

    return made


def _known(engine: Engine, places: Places, sku: str) -> str:
    """The item's own spelling. A kit cannot be held in one step: its components have writers of their own."""
    kit = kit_of(places, sku)
    if kit is not None:
        parts = ", ".join(f"{units} {component}" for component, units in places.kits[kit].items())
        raise HTTPException(422, f"{kit} is a kit: hold what is in one ({parts}), each under an id of its own, and give the others back when one is refused")
    try:
        with engine.connect() as sql:
            return identify(sql, sku, places)[0]
    except NotThere as error:
        raise HTTPException(404, str(error)) from None


def _wanted(places: Places, body: HoldCommand) -> tuple[str, ...]:
    """Places in order of preference."""
    if body.channel is not None:
        if body.channel not in places.channels:
            raise HTTPException(404, f"there is no channel {body.channel}")
        return places.channels[body.channel].locations
    for place in body.locations or ():
        if place not in places.locations:
            raise HTTPException(404, f"there is no place {place}")
    return tuple(body.locations or ())


def _shown(said: Answer) -> Reservation:
    return Reservation(
        reservation_id=said.order_id,
        sku=said.sku,
        status=said.reservation or "refused",
        fits=said.verdict == "held",
        held=said.held,
        free=[Units(location=one.location, quantity=one.quantity) for one in said.free],
        next_best=[Units(location=one.location, quantity=one.quantity) for one in said.next_best],
        at=datetime.fromtimestamp(said.at / 1000, UTC),
    )
