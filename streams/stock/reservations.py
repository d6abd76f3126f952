"""Reservations: units held for a while for a cart, a customer or a clerk.

  command   pending                      posted                       refused           voided, expired, posted and gone
  hold      the new quantity, or as it   -                            tries again       -
            was when that does not fit
  extend    a later end                  a later end                  -                 -
  post      posted                       posted                       -                 -
  void      voided                       voided                       voided            -
  (time)    expired                      expired
  (order)   the owner's order takes its units over: what it is granted comes out of the hold first, the rest is free again
  (shortage) voided, the newest first: a hold goes before a promise to an order is broken

What has ended stays ended; every command is answered, and one that comes again is answered the same. A hold is all or none
and never takes units that a waiting order needs. It ends by log time, so a replay ends it at the same moment. A posted one
has been bought: its units wait for the order, which is on its way, and come free if it never arrives.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Final

from hub.errors import Refuse
from schemas.catalogue import join_key, split_key
from schemas.records import Answer, EndedReservation, FreeUnits, Reservation, ReservationOwner, ReservationStatus, Reserve
from schemas.records.stock import ChangeKind
from streams.step import Fate, Out
from streams.stock.availability import Waiting, offer
from streams.stock.claims import Hold, Units
from streams.stock.state import AHEAD, ALLOCATION, CLOSED, ENDED, OWNER, RESERVATION, Work, check_id

HELD_FOR: Final = 15 * 60_000
"""A hold that does not say how long is for this time [ms]."""

POSTED_FOR: Final = 3_600_000
"""So long a hold that has been bought waits for its order [ms]."""

FOUND: Final = 5
"""Places named to somebody who is refused."""


class Cart:
    """One open reservation while a step works on it."""

    __slots__ = (
        "command",
        "command_at",
        "expires_at",
        "held",
        "id",
        "locations",
        "owner",
        "posted",
        "seq",
        "short",
        "since",
        "status",
        "told",
        "was_ended",
        "was_held",
        "was_owner",
    )

    def __init__(self, record: Reservation) -> None:
        self.id, self.owner, self.posted = record.reservation_id, record.owner, record.posted
        self.held: Units = dict(record.held)
        self.locations, self.expires_at, self.since, self.seq = record.locations, record.expires_at, record.since, record.seq
        self.command, self.command_at = record.command, record.command_at
        self.status: ReservationStatus = "posted" if record.posted else "pending"
        self.short = record.short
        self.told = True  # whether the last answer says what holds now
        self.was_ended = False
        self.was_held, self.was_owner = dict(record.held), record.owner

    @property
    def open(self) -> bool:
        """Whether it still holds something."""
        return bool(self.held)


class Carts:
    """The open reservations of one SKU that a step looks at."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self._known: dict[str, Cart] = {}
        self._owned: dict[str, tuple[str, ...]] = {}
        self.answers: list[Out] = []

    def get(self, reservation_id: str) -> Cart | None:
        """Of this id, if it is open or was so before the step."""
        cart = self._known.get(reservation_id)
        if cart is None:
            record: Reservation | None = self.work.get(RESERVATION, join_key(self.work.sku, reservation_id))
            if record is not None:
                cart = self._known[reservation_id] = Cart(record)
        return cart

    def of(self, owner: str) -> list[Cart]:
        """All that an owner has held before the step, or gets in it."""
        ids = self._owned.get(owner)
        if ids is None:
            record: ReservationOwner | None = self.work.get(OWNER, join_key(self.work.sku, owner))
            ids = self._owned[owner] = record.reservations if record is not None else ()
        carts = [cart for cart in map(self.get, ids) if cart is not None and cart.owner == owner]
        return carts + [cart for cart in self._known.values() if cart.owner == owner and cart.id not in ids]

    def add(self, cart: Cart) -> None:
        """A new one."""
        self._known[cart.id] = cart

    def everybody(self) -> list[Cart]:
        """Every open one of the SKU."""
        for key in self.work.view.keys(RESERVATION, self.work.sku):
            self.get(split_key(key)[1])
        return [cart for cart in self._known.values() if cart.open]

    # changes ---------------------------------------------------------------------------------------------------

    def hold(self, cart: Cart, units: Units, kind: ChangeKind) -> None:
        """Hold so many units by place from now on; the ledger calls what is given back `kind`."""
        fact = f"{cart.id}|reserved|{cart.seq + 1}"
        for place in sorted(cart.held.keys() | units.keys()):
            more = units.get(place, 0) - cart.held.get(place, 0)
            if more:
                self.work.shelf(place).reserve(f"{fact}|{kind}" if more < 0 else fact, "reserved" if more > 0 else kind, more)
        cart.held, cart.told = {place: n for place, n in units.items() if n}, False

    def end(self, cart: Cart, status: ReservationStatus, kind: ChangeKind = "released") -> None:
        """Give back what is held, for good."""
        self.hold(cart, {}, kind)
        cart.status = status

    def take(self, owner: str, place: str, units: int) -> None:
        """An order is granted units: its own are no longer held besides."""
        for cart in self.of(owner):
            taken = min(units, cart.held.get(place, 0))
            if taken:
                units -= taken
                self.hold(cart, {**cart.held, place: cart.held[place] - taken}, "allocated")
                if not cart.open:
                    cart.status = "posted"

    def settled(self, owner: str) -> bool:
        """An order has all that it wants: what is left of its holds is free again. Whether anything was."""
        left = [cart for cart in self.of(owner) if cart.open]
        for cart in left:
            self.end(cart, "posted")
        return bool(left)

    def give_way(self) -> bool:
        """Holds go, the newest first and those not yet bought before the others, until no promise is without its unit. Whether any did."""
        gone = False
        for place in sorted(place for place, shelf in self.work.shelves.items() if shelf.over_reserved() > 0):
            shelf = self.work.shelf(place)
            for cart in sorted(self.everybody(), key=lambda cart: (not cart.posted, cart.since, cart.id), reverse=True):
                if shelf.over_reserved() <= 0:
                    break
                if cart.held.get(place):
                    self.end(cart, "voided")
                    cart.short = gone = True
        return gone

    # what is written -------------------------------------------------------------------------------------------

    def conclude(self) -> None:
        """Records, wakes, index and answers of what has changed."""
        work = self.work
        changed = [cart for _, cart in sorted(self._known.items()) if not cart.told]
        owners: dict[str, set[str]] = {}
        for cart in changed:
            cart.seq += 1
            key = join_key(work.sku, cart.id)
            if cart.open:
                work.puts[(RESERVATION, key)] = self._record(cart)
                work.wakes[(RESERVATION, key)] = cart.expires_at
                if cart.was_ended:
                    work.puts[(ENDED, key)] = None
            else:
                self._ended(cart, key)
            for owner in {cart.owner, cart.was_owner}:
                mine = owners.setdefault(owner, {known.id for known in self.of(owner) if known.was_held})
                (mine.add if cart.open and owner == cart.owner else mine.discard)(cart.id)
            self.answers.append(Out(ALLOCATION, self.answer(cart.id, (cart.command_at, cart.seq), cart.held, cart.status, cart.locations, short=cart.short)))
            cart.told = True
        for owner, ids in sorted(owners.items()):
            address = (OWNER, join_key(work.sku, owner))
            if ids:
                work.puts[address] = ReservationOwner(sku=work.sku, owner=owner, reservations=tuple(sorted(ids)))
            elif work.get(*address) is not None:
                work.puts[address] = None
        work.outputs += self.answers
        self.answers = []

    def _record(self, cart: Cart) -> Reservation:
        return Reservation(
            reservation_id=cart.id,
            owner=cart.owner,
            sku=self.work.sku,
            posted=cart.posted,
            held=cart.held,
            locations=cart.locations,
            expires_at=cart.expires_at,
            since=cart.since,
            seq=cart.seq,
            short=cart.short,
            command=cart.command,
            command_at=cart.command_at,
        )

    def _ended(self, cart: Cart, key: str) -> None:
        work = self.work
        if cart.was_held:
            work.puts[(RESERVATION, key)] = None
        work.puts[(ENDED, key)] = EndedReservation(
            reservation_id=cart.id, owner=cart.owner, sku=work.sku, status=cart.status, seq=cart.seq, command=cart.command, command_at=cart.command_at
        )
        work.wakes[(ENDED, key)] = work.at + work.horizon + AHEAD + 1  # a command from before then is too old by then

    def answer(self, reservation_id: str, revs: tuple[int, int], held: Units, status: ReservationStatus, asked: Sequence[str], *, short: bool) -> Answer:
        """What is said; to somebody who does not get what was asked for, where there is some. `revs`: the time of the command, and seq."""
        rev, seq = revs
        here, elsewhere = self._elsewhere(asked) if short else ((), ())
        return Answer(
            event_id=blake2b(f"{reservation_id}|{self.work.sku}|{seq}".encode(), digest_size=16).hexdigest(),
            order_id=reservation_id,
            sku=self.work.sku,
            rev=rev,
            seq=seq,
            held=held,
            verdict="short" if short or status in ("refused", "expired") else "held",
            free=here,
            next_best=elsewhere,
            reservation=status,
            at=self.work.at,
        )

    def _elsewhere(self, asked: Sequence[str]) -> tuple[tuple[FreeUnits, ...], tuple[FreeUnits, ...]]:
        """(units at the places asked for, units at others: the nearest to the first of them, or else the fullest)."""
        work, demand, wanted = self.work, self.work.demand(), self._asked(asked)
        here = [FreeUnits(location=place, quantity=units) for place in wanted if (units := _alone(work, place, demand))]
        others = [(place, units) for place in work.atlas.places.locations if place not in wanted and (units := _alone(work, place, demand))]
        distance = work.atlas.distances(wanted[0]) if wanted else {}
        others.sort(key=lambda found: (distance.get(found[0], float("inf")), -found[1], found[0]))
        return tuple(here[:FOUND]), tuple(FreeUnits(location=place, quantity=units) for place, units in others[:FOUND])

    def _asked(self, asked: Sequence[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(asked)) or tuple(self.work.atlas.places.locations)

    # commands --------------------------------------------------------------------------------------------------

    def obey(self, command: Reserve) -> Fate:
        """Do what is asked. Raises Refuse for what can never be done."""
        said = _hash(command)
        cart = self.get(command.reservation_id)
        ended: EndedReservation | None = None
        if cart is None:
            ended = self.work.get(ENDED, join_key(command.sku, command.reservation_id))
        known = cart or ended
        if known is not None and (command.at < known.command_at or said == known.command):
            return self._again(command, cart, ended, duplicate=said == known.command)
        if ended is not None and (ended.status != "refused" or command.action not in ("hold", "void")):
            return self._again(command, None, ended, duplicate=False)
        if cart is None:
            if command.action in ("extend", "post") and ended is None:
                self.answers.append(Out(ALLOCATION, self.answer(command.reservation_id, (command.at, 0), {}, "expired", command.locations, short=False)))
                return Fate.IGNORED
            cart = Cart(_new(command, self.work.at, ended.seq if ended is not None else 0))
            cart.was_ended = ended is not None
            self.add(cart)
        cart.command, cart.command_at, cart.told, cart.short = said, command.at, False, False
        self._do(cart, command)
        return Fate.APPLIED

    def _again(self, command: Reserve, cart: Cart | None, ended: EndedReservation | None, *, duplicate: bool) -> Fate:
        """What was said last, with the same seq; to a command that came too late, in the name of that command."""
        if cart is not None:
            said = self.answer(cart.id, (cart.command_at, cart.seq), cart.held, cart.status, cart.locations, short=cart.short)
        else:
            assert ended is not None
            said = self.answer(
                ended.reservation_id, (max(command.at, ended.command_at), ended.seq), {}, ended.status, command.locations, short=ended.status == "refused"
            )
        self.answers.append(Out(ALLOCATION, said))
        return Fate.DUPLICATE if duplicate else Fate.SUPERSEDED

    def _do(self, cart: Cart, command: Reserve) -> None:
        match command.action:
            case "hold" if not cart.posted:
                self._hold(cart, command)
            case "void":
                self.end(cart, "voided")
            case "extend":
                cart.expires_at = max(cart.expires_at, _until(command, self.work.at, HELD_FOR))
            case "post":
                cart.posted, cart.status, cart.owner = True, "posted", command.owner
                cart.expires_at = max(cart.expires_at, _until(command, self.work.at, POSTED_FOR))
                if self.work.get(CLOSED, join_key(command.sku, command.owner)) is not None:
                    self.end(cart, "posted")  # the order was quicker, and has what it wants

    def _hold(self, cart: Cart, command: Reserve) -> None:
        cart.locations, cart.owner = command.locations, command.owner
        until = _until(command, self.work.at, HELD_FOR)
        if until <= self.work.at:
            self.end(cart, "expired", "expired")
            return
        units = self._fit(cart, command)
        cart.short = units is None
        if units is not None:
            self.hold(cart, units, "released")
        cart.status = "pending" if cart.open else "refused"
        if cart.open:
            cart.expires_at = until

    def _fit(self, cart: Cart, command: Reserve) -> Units | None:
        """Places for all of it, of which the owner has some already, without units that somebody waits for; None if there are none."""
        work, demand, need = self.work, self.work.demand(), command.quantity
        wanted = self._asked(command.locations)
        if sum(cart.held.values()) == need and set(cart.held) <= set(wanted):
            return dict(cart.held)
        free = {place: units + cart.held.get(place, 0) for place in wanted if (units := _spare(work, place)) is not None}
        offered = offer(list(free), list(free.values()), demand).units
        if offered is None or offered < need:
            return None
        for place, units in free.items():
            if units >= need and _harmless(free, {place: need}, demand):
                return {place: need}
        alone = {place: offer([place], [units], demand).units or 0 for place, units in free.items()}
        out: Units = {}
        for most in (alone, free):  # first what nobody else could want, then the rest
            for place, units in most.items():
                more = min(need - sum(out.values()), units - out.get(place, 0))
                if more > 0:
                    out[place] = out.get(place, 0) + more
        return out


def expire(carts: Carts, reservation_id: str, at: int) -> bool:
    """Its time has come. Whether anything was held."""
    cart = carts.get(reservation_id)
    if cart is None or cart.expires_at > at:
        return False
    carts.end(cart, "expired", "expired")
    return True


def own(work: Work, hold: Hold, place: str) -> int:
    """Units at a place that are reserved for this very order."""
    return sum([cart.held.get(place, 0) for cart in carts_of(work).of(hold.claim.order_id)])


def carts_of(work: Work) -> Carts:
    """The step's."""
    if work.carts is None:
        work.carts = Carts(work)
    carts: Carts = work.carts
    return carts


def check(command: Reserve, places: Iterable[str], most: int, latest: int) -> None:
    """Raises Refuse for a command that is wrong whatever there is."""
    check_id(command.sku)
    if not command.sku.strip() or not command.reservation_id or not command.owner:
        raise Refuse("a reservation without SKU, id or owner", reason="invalid-quantity")
    if command.action == "hold" and not 1 <= command.quantity <= most:
        raise Refuse(f"reservation {command.reservation_id} of {command.quantity} units", reason="invalid-quantity")
    for place in command.locations:
        if place not in places:
            raise Refuse(f"no place is called {place!r}", reason="unknown-location")
    if command.at > latest:
        raise Refuse(f"reservation {command.reservation_id} is from the future", reason="future")


def _new(command: Reserve, at: int, seq: int) -> Reservation:
    """Nothing is held yet."""
    return Reservation(
        reservation_id=command.reservation_id,
        owner=command.owner,
        sku=command.sku,
        posted=False,
        held={},
        locations=command.locations,
        expires_at=at,
        since=at,
        seq=seq,
        command="",
        command_at=command.at,
    )


def _until(command: Reserve, at: int, usual: int) -> int:
    return at + usual if command.expires_at is None else command.expires_at


def _hash(command: Reserve) -> str:
    said = (command.action, command.owner, command.quantity, command.locations, command.expires_at, command.at)
    return blake2b(repr(said).encode(), digest_size=8).hexdigest()


def _spare(work: Work, place: str) -> int | None:
    """Units that nobody holds; None where the place is unknown."""
    return work.part(work.atlas.site(place))


def _alone(work: Work, place: str, demand: Sequence[Waiting]) -> int:
    """Units at one place that nobody holds or waits for."""
    return offer([place], [_spare(work, place)], demand).units or 0


def _harmless(free: Mapping[str, int], taken: Mapping[str, int], demand: Sequence[Waiting]) -> bool:
    """Whether those who wait can be served as well as before."""
    left = {place: units - taken.get(place, 0) for place, units in free.items()}
    return all(_served(left, group) == _served(free, group) for group in demand)


def _served(free: Mapping[str, int], group: Waiting) -> int:
    return min(group.missing + group.recalled, sum(units for place, units in free.items() if place in group.places))
