"""Mistakes planted on purpose: the simulation is worth something only if it sees them. Each is named for what it does.

STANDING is the list that is kept, and SEEN_IN says of some of it in what world they show; MUTATIONS are further small changes of
streams/*. Where a mistake is a changed line, the
function's source is changed and compiled in its module; a change that no longer fits the code is an error, not a bug found.
"""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import pytest

import hub.store.main as store
from hub.deliver import lane
from hub.deliver.feed import Feed
from hub.errors import Refuse, Retry
from hub.ingest import append, pages
from hub.ingest.append import Appender
from hub.ingest.poller import Poller
from hub.store import writer
from streams import headers, memory, memory_group, progress, quick, recovery
from streams.column import Column
from streams.engine import Engine
from streams.memory_group import Coordinator
from streams.ports import Abortable, Place, Unknown
from streams.recovery import Recovery
from streams.step import Fate
from streams.stock import settle
from streams.stock.reservations import Carts
from streams.stock.state import STOCK
from streams.tables import Tables
from tests.sim.ports import ProcessLog, SimGroup, SimTransactions
from tests.sim.processors import First

Patch = pytest.MonkeyPatch
Plant = Callable[[Patch], None]


def changed(owner: Any, name: str, *pieces: str) -> Plant:
    """The function with a piece of its source replaced by another, and so on: old, new, old, new."""

    def plant(patch: Patch) -> None:
        function = inspect.unwrap(getattr(owner, name))
        function = function.fget if isinstance(function, property) else function
        static = isinstance(inspect.getattr_static(owner, name), staticmethod)
        source = textwrap.dedent(inspect.getsource(function))
        for old, new in zip(pieces[::2], pieces[1::2], strict=True):
            if source.count(old) < 1:
                raise LookupError(f"{name} does not contain {old!r}")
            source = source.replace(old, new)
        patch.setattr(quick, "library", None)  # a compiled loop would not know of the change
        source = "from __future__ import annotations\n" + source.replace("@staticmethod\n", "").replace("@property\n", "")
        names: dict[str, Any] = {}
        exec(compile(source, f"<planted in {name}>", "exec"), vars(sys.modules[function.__module__]), names)
        made: Any = names[function.__name__]
        if isinstance(inspect.getattr_static(owner, name), property):
            made = property(made)
        patch.setattr(owner, name, staticmethod(made) if static else made)

    return plant


# --- the standing list


def ack_first(patch: Patch) -> None:
    """Offsets are committed in a transaction of their own, before what they stand for."""

    def wrong(engine: Engine, turns: Sequence[Any], generation: Any, began: float) -> bool:
        port = engine._transactions
        assert port is not None
        sent = {place: offset for turn in turns for place, offset in turn.offsets.items()}
        try:
            port.begin()
            port.send_offsets(sent, generation)
            port.commit()
        except (Abortable, Unknown) as error:
            engine._abort(turns, error)
            return False
        return transact(engine, turns, generation, began)

    transact = Engine._transact
    patch.setattr(Engine, "_transact", wrong)


def no_dedupe(patch: Patch) -> None:
    """The same id is counted again."""
    apply = First.apply

    def wrong(first: First, view: Any, event: Any) -> Any:
        step = apply(first, view, event)
        if step.fate is not Fate.DUPLICATE or "waits" in (event.record if isinstance(event.record, dict) else {}):
            return step
        return first._add(view, first._read(event), event.at, (event.topic, event.partition, event.offset))

    patch.setattr(First, "apply", wrong)


def torn(patch: Patch) -> None:
    """State and offsets in one transaction, outputs in the next."""

    def wrong(engine: Engine, turns: Sequence[Any], generation: Any, began: float) -> bool:
        outputs = set(engine.processor.outputs)
        kept = [write for turn in turns for write in turn.writes if write.topic in outputs]
        for turn in turns:
            turn.writes = [write for write in turn.writes if write.topic not in outputs]
        done = transact(engine, turns, generation, began)
        port = engine._transactions
        if done and kept and port is not None:
            port.begin()
            for topic, key, value, partition, head, at, _ in kept:
                port.produce(topic, key, value, partition, head, at)
            port.commit()
        return done

    transact = Engine._transact
    patch.setattr(Engine, "_transact", wrong)


def no_fence(patch: Patch) -> None:
    """Whoever was put out of the group may still commit."""
    patch.setattr(Coordinator, "refusal", lambda coordinator, generation: None)


def skip_on_outage(patch: Patch) -> None:
    """What cannot be decoded because the registry is away is passed over."""
    record = Column._record

    def wrong(column: Column, one: Any, lane: Any) -> None:
        try:
            record(column, one, lane)
        except Retry:
            column.book.delta(lane.place).count(headers.source_of(one), Fate.IGNORED)
            lane.next = one.offset + 1
            column._touched = True

    patch.setattr(Column, "_record", wrong)


def dead_letter_not_acked(patch: Patch) -> None:
    """A dead letter that the broker refuses is let go."""
    produce = SimTransactions.produce

    def wrong(port: SimTransactions, topic: str, key: Any, value: Any, partition: int, head: Any = (), at: int | None = None) -> None:
        if topic.startswith("dead.") and not port._log.fits(topic, key, value):
            return
        produce(port, topic, key, value, partition, head, at)

    patch.setattr(SimTransactions, "produce", wrong)


def producer_kept(patch: Patch) -> None:
    """After an unknown result the old producer is told to abort, and used on."""

    def wrong(engine: Engine, error: Exception) -> None:
        try:
            if engine._transactions is None:
                engine._transactions = engine._insist(lambda: engine._log.transactions(engine.transactional_id))
            else:
                engine._transactions.abort()
        except Unknown:
            replace(engine, error)  # fenced

    replace = Engine._replace_producer
    patch.setattr(Engine, "_replace_producer", wrong)


def wake_lost_on_restore(patch: Patch) -> None:
    """Wakes are not read back."""
    read = memory.read_state
    patch.setattr(memory, "read_state", lambda head: (None, read(head)[1]))


def offsets_after_restore(patch: Patch) -> None:
    """The state is read first, then the offsets are asked for."""
    finish, settled = Recovery._finish, Recovery._settled

    def early(found: Recovery, waiting: Any) -> bool:
        group = found._group

        class Nothing:
            def committed(self, places: Any) -> Any:
                return {place: (None, owner) for place, owner in group.owners(places).items()}

        found._group = Nothing()  # type: ignore[assignment]
        try:
            return settled(found, waiting)
        finally:
            found._group = group

    def wrong(found: Recovery, owned: Any) -> None:
        try:
            owned.committed = dict(found._group.committed(owned.column.inputs))
        except Exception as error:
            raise Retry(str(error)) from error
        finish(found, owned)

    patch.setattr(Recovery, "_settled", early)
    patch.setattr(Recovery, "_finish", wrong)


def restore_to_stable(patch: Patch) -> None:
    """The state is read up to the last stable offset only."""
    ends = ProcessLog.ends
    patch.setattr(ProcessLog, "ends", lambda port, places, *, committed: ends(port, places, committed=True))


def wake_without_offsets(patch: Patch) -> None:
    """A transaction that only wakes sends no offsets, so nothing fences it."""
    send = SimTransactions.send_offsets

    def wrong(port: SimTransactions, offsets: Any, generation: Any) -> None:
        coordinator = port._log.coordinator(generation.group)
        moved = {place: offset for place, offset in offsets.items() if coordinator.offsets.get(place, (None, ""))[0] != offset}
        send(port, moved, generation)

    patch.setattr(SimTransactions, "send_offsets", wrong)


def generation_at_commit(patch: Patch) -> None:
    """consume() is called inside a transaction, and the generation taken anew."""
    transact = Engine._transact

    def wrong(engine: Engine, turns: Any, generation: Any, began: float) -> bool:
        engine._group.consume(1, 0.0)
        return transact(engine, turns, engine._group.generation() or generation, began)

    patch.setattr(Engine, "_transact", wrong)


def no_seek(patch: Patch) -> None:
    """After an abort the consumer goes on where it was."""
    patch.setattr(Engine, "_drop", lambda _, turn, reason: turn.owned.column.drop())


def uniform_assignor(patch: Patch) -> None:
    """Inputs of one column are given to different members, and nobody minds."""
    patch.setattr(Coordinator, "_complete", _uniform)
    changed(Engine, "assigned", "if missing:", "if False:")(patch)


def _uniform(coordinator: Coordinator) -> None:
    if not coordinator.rebalancing or not all(member.joined for member in coordinator.members.values()):
        return
    coordinator.rebalancing = False
    coordinator.generation += 1
    members = sorted(coordinator.members.values(), key=lambda member: member.instance)
    every = sorted({Place(topic, number) for member in members for topic in member.topics for number in range(coordinator.partitions(topic))})
    for index, member in enumerate(members):
        member.places = tuple(place for n, place in enumerate(every) if (n // 2 + n) % len(members) == index)


def wake_before_backlog(patch: Patch) -> None:
    """Wakes fire by the wall clock, whatever is still to be read."""
    patch.setattr(Column, "time", lambda column, wall, at_end: max(column._time, wall))


def keep_overlay(patch: Patch) -> None:
    """What a dropped turn said stays in memory."""
    drop = Column.drop

    def wrong(column: Column) -> None:
        column.memory.merge(column._overlay.puts)
        drop(column)

    patch.setattr(Column, "drop", wrong)


def no_offsets(patch: Patch) -> None:
    """Transactions without offsets: nothing fences a zombie."""
    patch.setattr(SimTransactions, "send_offsets", lambda *_: None)


def unsettled(patch: Patch) -> None:
    """Offsets are taken although a transaction over them is undecided."""
    patch.setattr(SimGroup, "committed", lambda group, places: {place: group._real._coordinator.offsets.get(place, (None, "")) for place in places})


def merge_first(patch: Patch) -> None:
    """Memory is changed before the commit is known."""
    transact = Engine._transact

    def wrong(engine: Engine, turns: Any, generation: Any, began: float) -> bool:
        for turn in turns:
            turn.owned.column.memory.merge(turn.owned.column._overlay.puts)
        return transact(engine, turns, generation, began)

    patch.setattr(Engine, "_transact", wrong)


def unknown_is_lost(patch: Patch) -> None:
    """An unknown result is taken for an abort."""
    patch.setattr(Engine, "_outcome", lambda *_: False)


def unknown_is_done(patch: Patch) -> None:
    """An unknown result is taken for a commit."""
    patch.setattr(Engine, "_outcome", lambda *_: True)


def wake_by_offsets(patch: Patch) -> None:
    """The outcome of a wake-only transaction is guessed instead of read from the progress record."""
    patch.setattr(Engine, "_last_transaction", lambda _, column: column.book.transaction)


def lose_popped(patch: Patch) -> None:
    """A wake that fired in a dropped turn is gone."""
    patch.setattr(memory.Memory, "unpop", lambda *_: None)


def forget_arrivals(patch: Patch) -> None:
    """After a restart nobody looks whether what is waited for is there already."""
    patch.setattr(Column, "look_around", lambda _: None)


def no_key(patch: Patch) -> None:
    """A put that is tried again has another idempotency key."""
    numbers = iter(range(1 << 60))
    patch.setattr(lane, "fingerprint", lambda parts: f"key-{next(numbers)}")


def no_lock_on_grant(patch: Patch) -> None:
    """A claim is judged by the counters as the last transaction left them, without what was granted to the claims before it in this one."""

    def wrong(work: Any) -> Any:
        def free(hold: Any, place: str) -> int:
            stock = work.view._memory.get(STOCK, work.shelf(place).key)
            return 0 if stock is None else (stock.sellable or 0) - stock.allocated - stock.reserved

        return free

    patch.setattr(quick, "library", None)  # its view does not say what lies behind it
    patch.setattr(settle, "units_for", wrong)


def grant_without_looking(patch: Patch) -> None:
    """A claim is granted whatever is held already."""
    patch.setattr(settle, "fits", lambda more, hold, free: True)


def own_hold_in_the_way(patch: Patch) -> None:
    """What a cart holds for an order counts against that order too."""
    patch.setattr(settle, "own", lambda work, hold, place: 0)


def extension_ignored(patch: Patch) -> None:
    """A cart that is looked at again runs out as if it had not been."""
    changed(Carts, "_do", "cart.expires_at = max(cart.expires_at, _until(command, self.work.at, HELD_FOR))", "pass")(patch)


def cart_never_ends(patch: Patch) -> None:
    """Nobody is woken when a cart's time is over."""
    changed(Carts, "conclude", "work.wakes[(RESERVATION, key)] = cart.expires_at", "pass")(patch)


def carts_by_wall_clock(patch: Patch) -> None:
    """A cart runs out by the wall clock, although the command that extends it may still be unread."""
    wake_before_backlog(patch)


STANDING: dict[str, Plant] = {
    plant.__name__: plant
    for plant in (
        ack_first, no_dedupe, torn, no_fence, skip_on_outage, dead_letter_not_acked, producer_kept, wake_lost_on_restore, offsets_after_restore,
        restore_to_stable, wake_without_offsets, generation_at_commit, no_seek, uniform_assignor, wake_before_backlog, keep_overlay, no_offsets, unsettled,
        merge_first, unknown_is_lost, unknown_is_done, wake_by_offsets, lose_popped, forget_arrivals, no_key, no_lock_on_grant, grant_without_looking,
        own_hold_in_the_way, extension_ignored, cart_never_ends, carts_by_wall_clock,
    )
}  # fmt: skip

CARTS = ("own_hold_in_the_way", "extension_ignored", "cart_never_ends", "carts_by_wall_clock")
SEEN_IN: dict[str, str] = {"no_key": "deliver"} | dict.fromkeys(("no_lock_on_grant", "grant_without_looking", *CARTS), "trade")
"""Mistake -> the edge, or `trade`: the world of orders."""


# --- further mutations


def merged_twice(patch: Patch) -> None:
    """What was committed is merged into the book a second time."""
    merge = Column.merge

    def wrong(column: Column) -> None:
        column.book.transaction += 1
        merge(column)

    patch.setattr(Column, "merge", wrong)


def metadata_ignored(patch: Patch) -> None:
    """Who committed last is not looked at: nobody is reaped."""
    patch.setattr(SimGroup, "owners", lambda group, places: dict.fromkeys(places, ""))


MUTATIONS: dict[str, Plant] = {
    "merged_twice": merged_twice,
    "metadata_ignored": metadata_ignored,
    "position_off_by_one": changed(Column, "_record", "lane.next = offset + 1", "lane.next = offset"),
    "position_one_too_far": changed(Column, "_record", "lane.next = offset + 1", "lane.next = offset + 2"),
    "rewind_first_only": changed(Engine, "_rewind", "in owned.column.book.positions.items()", "in list(owned.column.book.positions.items())[:1]"),
    "reaper_never_reaps": changed(Recovery, "_reap", "if began < owned.reap_at:", "if True:"),
    "blocked_turn_skips": changed(Engine, "_turn", "_Turn(owned, writes, blocked,", "_Turn(owned, writes, None,"),
    "blocked_at_the_first_skips": changed(Engine, "_turn", "self._after(owned, blocked,", "self._after(owned, None,"),
    "hold_never_ends": changed(Engine, "_hold", "self._clock.monotonic() + seconds", "self._clock.monotonic() + 1e9"),
    "hold_forgets_to_pause": changed(Engine, "_let_run", "self._rewind([owned.number])", "pass"),
    "wakes_not_cleared": changed(Column, "_due", "Put(overlay.get(*address), None,", "Put(overlay.get(*address), entry[0] + 1,"),
    "wake_clears_waits": changed(Column, "_due", "self.memory.waits(address), self.inputs[0]", "None, self.inputs[0]"),
    "stale_wake_fires": changed(memory.Memory, "pop_due", "if self._wakes[entry[1]].get(entry[2]) == entry[0]:", "if True:"),
    "waits_lost_on_restore": changed(memory.Memory, "restore", "*read_state(headers))", "read_state(headers)[0], None)"),
    "waits_not_written": changed(headers, "state", "if waits is not None:", "if False:"),
    "tombstone_not_restored": changed(memory.Memory, "restore", "discard(key)", "pass"),
    "arrivals_in_hold_lost": changed(Engine, "_follow_tables", "(Phase.RUN, Phase.HELD)", "(Phase.RUN,)"),
    "arrivals_dropped_with_turn": changed(Column, "drop", "self._arrived.extendleft(reversed(self._shown))", "pass"),
    "progress_outside": changed(Engine, "_turn", "writes += column.progress(wall)", "column.progress(wall)"),
    "revoked_kept": changed(Engine, "revoked", "self._owned.pop(number, None)", "self._owned.get(number)"),
    "separate_never_left": changed(Engine, "_work", "self._separate = False", "pass"),
    "separate_never_entered": changed(Engine, "_abort", "len(turns) > 1 or self._separate", "False"),
    "unknown_is_fenced": changed(Engine, "_transact", "return self._resolve(turns, error)", "return any(self._begin_again(turn.owned) for turn in turns)"),
    "unknown_is_abortable": changed(Engine, "_transact", "return self._resolve(turns, error)", "self._abort(turns, error)\n        return False"),
    "abort_not_sent": changed(Engine, "_abort", "self._transactions.abort()", "pass"),
    "abort_unknown_kept": changed(Engine, "_abort", "self._replace_producer(unknown)", "pass"),
    "not_running_processed": changed(Engine, "_by_column", "if owned.phase is Phase.RUN}", "}"),
    "old_records_processed": changed(Engine, "_by_column", "run if run[0].offset >= position else", "run if True else"),
    "tables_not_awaited": changed(
        Engine, "_let_run", "tables_ready = self._tail is None or (self._tail.caught_up() and not self._arriving)", "tables_ready = True"
    ),
    "passed_markers_not_told": changed(Engine, "_touch_passed", "passed > position", "False"),
    "first_place_only": changed(progress.Book, "offsets", "(self._deltas or self.inputs[:1])", "list(self._deltas or self.inputs)[:1]"),
    "fates_forgotten": changed(progress.Book, "_entry", "if last else {}\n", "if False else {}\n"),
    "produced_forgotten": changed(progress.Book, "_entry", "_added(last.produced if last else {}, delta.produced)", "dict(delta.produced)"),
    "parked_forgotten": changed(progress.Delta, "settle", "self.parked -= 1", "pass"),
    "book_keeps_open_turn": changed(progress.Book, "drop", "self._deltas, self._next = {}, {}", "pass"),
    "start_at_end": changed(Recovery, "_start", "committed=True)[place][0]", "committed=True)[place][1]"),
    "progress_not_restored": changed(Recovery, "_states", "(*column.world.processor.states, column.progress_topic)", "column.world.processor.states"),
    "restore_ends_early": changed(Recovery, "_restore", "if all(map(", "if any(map("),
    "overlay_order": changed(Column, "_keep", "wakes.get(address), waits.get(address)", "wakes.get(address), None"),
    "time_not_kept": changed(Column, "time", "max(self._time, min(", "max(0, max("),
    "misrouted_taken": changed(Column, "_decode", "if key != world.routes.key_of(topic, value):", "if False:"),
    "dead_letter_without_origin": changed(Column, "_bury", "(letter.topic, letter.partition, letter.offset)", "(letter.topic, letter.partition, 0)"),
    "table_takes_nothing_over": changed(Tables, "take", "by_index[index] = (key, value)", "by_index.setdefault(index + '?', (key, value))"),
    "members_not_forgotten": changed(memory.Memory, "_merge", "shelf.discard(key)", "pass"),
    "overlay_reads_memory": changed(memory.Overlay, "get", "if put is None else put.record", "if put is None or put.record is None else put.record"),
    "waiting_not_discarded": changed(memory.Memory, "_remember", "self._waiting.remove(before, address)", "pass"),
}


# --- at the edges


def door_acks_first(patch: Patch) -> None:
    """The vendor is answered before Kafka has acknowledged."""

    async def wrong(appender: Appender, topic: str, key: str, value: bytes, raw: Any) -> None:
        appender._producer.produce(topic, value, key.encode(), timestamp=raw.received_at)

    patch.setattr(Appender, "_send", wrong)


def append_errors_ignored(patch: Patch) -> None:
    """A record that was not delivered counts as delivered."""
    patch.setattr(append, "_settle", lambda reports: [done.set_result(None) for done, _ in reports if not done.done()])


def position_first(patch: Patch) -> None:
    """The position of a page is committed before its records."""

    def wrong(poll: pages.Pages, raws: Any, markers: Any, position: Any) -> None:
        transact(poll, [], [], position)
        transact(poll, raws, markers, position)

    transact = pages.Pages._transact
    patch.setattr(pages.Pages, "_transact", wrong)


def rows_apart(patch: Patch) -> None:
    """Offsets are written in a transaction of their own, before the rows."""

    def wrong(engine: Any, batch: Any, moved: Any) -> int:
        write(engine, {}, moved)
        return write(engine, batch, {})

    write = store.write
    patch.setattr(store, "write", wrong)


def overtaken_unseen(patch: Patch) -> None:
    """Rows are written although another store has gone further."""
    changed(writer, "write", "claimed.rowcount != 1", "False")(patch)
    patch.setattr(store, "write", writer.write)


EDGES: dict[str, tuple[str, Plant]] = {
    "door_acks_first": ("door", door_acks_first),
    "append_errors_ignored": ("door", append_errors_ignored),
    "position_first": ("poll", position_first),
    "position_read_before_the_fence": (
        "poll",
        changed(pages.Pages, "open", "    self.close()\n", "    self.close()\n    stored = self._stored()\n", "return self._stored()", "return stored"),
    ),
    "page_not_asked_again": ("poll", changed(Poller, "_page", "progress.opened = False", "pass")),
    "fenced_poll_goes_on": ("poll", changed(pages.Pages, "_failed", "self.close()", "return None")),
    "no_intent": ("deliver", changed(lane.Lane, "_put", "self._ledger.write(intents)", "pass")),
    "lost_answer_is_accepted": ("deliver", changed(lane.Lane, "_put", "raise\n", "answers = [Put(p.level.sku, True, False, '') for p in plans]\n")),
    "partial_is_all": (
        "deliver",
        changed(lane.Lane, "_answered", 'result = "unknown" if answer is None else', 'answer = answer or Put(name, True, False, "")\n    result ='),
    ),
    "offsets_before_the_numbers": ("deliver", changed(Feed, "_commit", "news and self._lane.idle", "news")),
    "restored_without_listings": ("deliver", changed(Feed, "poll", " and not self._unread", "")),
    "never_compared": ("deliver", changed(lane.Lane, "_to_check", "now >= self._check_at", "False")),
    "rows_apart": ("store", rows_apart),
    "overtaken_unseen": ("store", overtaken_unseen),
    "store_goes_on_after_trouble": ("store", changed(store, "run", "lost = True", "lost = False")),
}


__all__ = ["EDGES", "MUTATIONS", "SEEN_IN", "STANDING", "Refuse", "memory_group", "recovery"]
