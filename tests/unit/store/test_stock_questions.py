"""What people ask of the stock truth: where an item is and why, what a place has, what is nearest."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from hub.api.stock import stock_of
from hub.store.tables import moment
from tests.unit.store.told import AT, PLACES, Teller, entry, get, item, level

ODD = ("A/B", "A|B", "50%", "A%2FB", "Ä b", "a?b#c", "X/nearest", "nearest", "../up")


# GET /stock/{sku} ---------------------------------------------------------------------------------------------------


def test_every_component_of_every_place(client: TestClient, teller: Teller) -> None:
    """As the record has them, with who counts there; a place that is no longer named is counted by nobody."""
    parts = {"allocated": 2, "reserved": 1, "damaged": 1, "quality_control": 2, "missing": 3, "safety_stock": 4}
    rest = {"incoming": 5, "inbound": 6, "inbound_allocated": 7, "shortage": 0}
    teller.tell(item("MUG"), level("MUG", "lyon", 20, **parts, **rest, as_of=AT - 1000), level("MUG", "gone", None))

    answer = client.get("/stock/MUG").json()
    gone, lyon = answer["locations"]

    assert (answer["sku"], answer["title"]) == ("MUG", "Blue mug")
    assert {name: lyon[name] for name in (*parts, *rest)} == parts | rest
    assert (lyon["on_hand"], lyon["sellable"], lyon["atp"]) == (20, 17, 10)
    assert (lyon["location"], lyon["authority"]) == ("lyon", "till")
    assert (gone["location"], gone["authority"], gone["on_hand"], gone["atp"]) == ("gone", None, None, None)


def test_freshness(engine: Engine, teller: Teller) -> None:
    """Of the count it rests on and of the last change, in seconds; never counted is no age, and another clock's future is none either."""
    now = moment(AT) + timedelta(seconds=90)
    teller.tell(
        level("MUG", "lyon", as_of=AT - 10_000),
        level("MUG", "dc", None, updated_at=AT + 500_000),
        level("MUG", "paris", as_of=AT + 60_500, updated_at=AT + 60_500),
    )
    with engine.connect() as sql:
        dc, lyon, paris = stock_of(sql, PLACES, "MUG", now).locations

    assert (lyon.as_of, lyon.as_of_age_s, lyon.updated_at, lyon.updated_age_s) == (moment(AT - 10_000), 100.0, moment(AT), 90.0)
    assert (dc.as_of, dc.as_of_age_s, dc.updated_age_s) == (None, None, 0.0)
    assert (paris.as_of_age_s, paris.updated_age_s) == (29.5, 29.5)


def test_why_it_is_so(client: TestClient, teller: Teller) -> None:
    """The last entries of each place, newest first by the ledger's own order, ten unless told otherwise."""
    teller.tell(level("MUG", "lyon"), level("MUG", "dc"), level("CUP", "lyon"), level("MUG", "paris"))
    teller.tell(*(entry(n, at=AT) for n in range(15)), entry(99, location="dc", kind="counted", quantity=3, cause="count 7"), entry(98, sku="CUP"))

    places = {place["location"]: place["entries"] for place in client.get("/stock/MUG").json()["locations"]}
    assert [each["cause"] for each in places["lyon"]] == [f"sale {n}" for n in range(14, 4, -1)]
    told = datetime.fromtimestamp((AT + 99) / 1000, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    assert places["dc"] == [{"kind": "counted", "counter": "on_hand", "quantity": 3, "cause": "count 7", "reason": None, "at": told}]
    assert places["paris"] == []

    counts = [len(client.get("/stock/MUG", params={"entries": n}).json()["locations"][1]["entries"]) for n in (0, 1, 100)]
    assert counts == [0, 1, 15]


@pytest.mark.parametrize("entries", ["-1", "101", "many"])
def test_how_many_entries_has_bounds(client: TestClient, entries: str) -> None:
    """422 that names the parameter."""
    answer = client.get("/stock/MUG", params={"entries": entries})

    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["query", "entries"]


@pytest.mark.parametrize("asked", ["mug-Straße", "MUG-STRASSE", "  Mug-Strasse ", "Mug-Straße"])
def test_case_and_outer_blanks_do_not_matter(client: TestClient, teller: Teller, asked: str) -> None:
    """The item's own spelling comes back."""
    teller.tell(item("Mug-Straße"), level("Mug-Straße", "lyon"))

    answer = client.get(f"/stock/{quote(asked, safe='')}").json()

    assert (answer["sku"], [place["location"] for place in answer["locations"]]) == ("Mug-Straße", ["lyon"])


def test_a_spelling_that_is_there_is_what_is_meant(client: TestClient, teller: Teller) -> None:
    """A feed's own spelling is found by itself; any other means the item."""
    teller.tell(item("Mug"), level("Mug", "lyon"), level("MUG", "dc"))

    assert [client.get(f"/stock/{sku}").json()["sku"] for sku in ("Mug", "MUG", "mug")] == ["Mug", "MUG", "Mug"]


def test_leading_zeros_stay(client: TestClient, teller: Teller) -> None:
    """007 is not 7."""
    teller.tell(level("007", "lyon"))

    assert client.get("/stock/007").json()["sku"] == "007"
    assert client.get("/stock/7").status_code == 404


@pytest.mark.parametrize("sku", ODD)
def test_odd_skus_in_a_path(client: TestClient, teller: Teller, sku: str) -> None:
    """Percent-encoded they are found, whatever is in them; so is what is nearest of them."""
    teller.tell(item(sku), item("X"), level(sku, "lyon"), entry(1, sku=sku))
    path = f"/stock/{quote(sku, safe='')}"

    answer, near = get(client, path), get(client, f"{path}/nearest?to=lyon")

    assert (answer["sku"], len(answer["locations"][0]["entries"])) == (sku, 1)
    assert (near["sku"], [place["location"] for place in near["places"]]) == (sku, ["lyon"])


def test_a_slash_may_be_written_as_it_is(client: TestClient, teller: Teller) -> None:
    """By people who type."""
    teller.tell(level("A/B", "lyon"))

    assert client.get("/stock/A/B").json()["sku"] == "A/B"
    assert client.get("/stock/A/B/nearest?to=lyon").json()["sku"] == "A/B"


def test_an_item_that_no_place_has(client: TestClient, teller: Teller) -> None:
    """It is known, and nowhere."""
    teller.tell(item("NEW", "New thing"))

    assert client.get("/stock/new").json() == {"sku": "NEW", "title": "New thing", "locations": [], "components": []}


@pytest.mark.parametrize("path", ["/stock/NOPE", "/stock/NOPE/nearest?to=lyon", "/stock/", "/stock/%20"])
def test_no_such_item(client: TestClient, path: str) -> None:
    """404 that says so."""
    answer = client.get(path)

    assert answer.status_code == 404
    assert answer.json()["detail"].startswith("there is no item")


# GET /stock?location= -----------------------------------------------------------------------------------------------


def test_a_place_page_by_page(client: TestClient, teller: Teller) -> None:
    """Each item once, in one order, with its title; the last page says that it is the last."""
    skus = [f"S{n:03}" for n in range(250)]
    teller.tell(*(item(sku, f"Thing {sku}") for sku in skus[:-1]), *(level(sku, place) for sku in skus for place in ("lyon", "dc")))

    seen, after, pages = [], None, 0
    while pages == 0 or after is not None:
        answer = client.get("/stock", params={"location": "lyon"} | ({"after": after} if after is not None else {})).json()
        seen += [(each["sku"], each["location"], each["title"]) for each in answer["items"]]
        after, pages = answer["next"], pages + 1
        assert (answer["location"], answer["authority"]) == ("lyon", "till")

    assert seen == [(sku, "lyon", f"Thing {sku}") for sku in skus[:-1]] + [(skus[-1], "lyon", None)]
    assert pages == 3
    assert len(client.get("/stock?location=lyon&limit=500").json()["items"]) == 250
    exact = client.get("/stock?location=lyon&limit=250").json()
    assert (len(exact["items"]), exact["next"]) == (250, None)


def test_only_what_is_short(client: TestClient, teller: Teller) -> None:
    """Promised and not there; pages of it as well."""
    teller.tell(*(level(f"S{n}", "lyon", 0, allocated=n, shortage=n) for n in range(4)), level("S9", "dc", 0, allocated=1, shortage=1))

    first = client.get("/stock?location=lyon&short=true&limit=2").json()
    second = client.get(f"/stock?location=lyon&short=true&limit=2&after={first['next']}").json()

    assert [(each["sku"], each["shortage"], each["atp"]) for each in first["items"] + second["items"]] == [("S1", 1, -1), ("S2", 2, -2), ("S3", 3, -3)]
    assert (first["next"], second["next"]) == ("S2", None)


def test_places_that_are_empty_unknown_or_no_longer_named(client: TestClient, teller: Teller) -> None:
    """Nothing yet, 404, and what is still lying there."""
    teller.tell(level("MUG", "gone"))

    assert client.get("/stock?location=attic").json() == {"location": "attic", "authority": "hub", "items": [], "next": None}
    assert [each["sku"] for each in client.get("/stock?location=gone").json()["items"]] == ["MUG"]
    assert client.get("/stock?location=gone").json()["authority"] is None
    nowhere = client.get("/stock?location=moon")
    assert (nowhere.status_code, nowhere.json()["detail"]) == (404, "there is no place moon")


@pytest.mark.parametrize(
    ("query", "field"), [("", "location"), ("location=lyon&limit=0", "limit"), ("location=lyon&limit=501", "limit"), ("location=lyon&short=x", "short")]
)
def test_a_question_about_a_place_that_lacks_something(client: TestClient, query: str, field: str) -> None:
    """422 that names the parameter."""
    answer = client.get(f"/stock?{query}")

    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["query", field]


# GET /stock/{sku}/nearest -------------------------------------------------------------------------------------------


def test_the_nearest_that_have_enough(client: TestClient, teller: Teller) -> None:
    """With kilometres; a place without a position comes last, one that is not named or has too little not at all."""
    teller.tell(item("MUG"), *(level("MUG", place, units) for place, units in (("lyon", 5), ("paris", 3), ("dc", 2), ("attic", 9), ("gone", 9))))

    from_lyon = client.get("/stock/mug/nearest?to=lyon").json()
    assert (from_lyon["sku"], from_lyon["title"], from_lyon["quantity"]) == ("MUG", "Blue mug", 1)
    assert [(place["location"], place["free"], place["kilometres"]) for place in from_lyon["places"]] == [
        ("lyon", 5, 0.0),
        ("dc", 2, 10.8),
        ("paris", 3, pytest.approx(394, abs=2)),
        ("attic", 9, None),
    ]

    from_paris = client.get("/stock/MUG/nearest?latitude=48.9&longitude=2.4&quantity=3").json()
    assert [place["location"] for place in from_paris["places"]] == ["paris", "lyon", "attic"]


def test_free_is_what_may_be_promised(client: TestClient, teller: Teller) -> None:
    """Not what lies there: promised, reserved and kept back units, and what nobody has counted, are not free."""
    teller.tell(level("MUG", "lyon", 9, allocated=4, reserved=2, safety_stock=1), level("MUG", "dc", 9, allocated=9), level("MUG", "paris", None))

    assert client.get("/stock/MUG/nearest?to=lyon").json()["places"] == [{"location": "lyon", "free": 2, "kilometres": 0.0}]
    assert client.get("/stock/MUG/nearest?to=lyon&quantity=3").json()["places"] == []


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("", 422, "nearest to what"),
        ("latitude=45", 422, "nearest to what"),
        ("longitude=5", 422, "nearest to what"),
        ("to=lyon&latitude=45&longitude=5", 422, "nearest to what"),
        ("to=attic", 422, "no position of attic"),
        ("to=moon", 404, "there is no place moon"),
        ("latitude=91&longitude=5", 422, "latitude"),
        ("to=lyon&quantity=0", 422, "quantity"),
    ],
)
def test_nearest_to_what(client: TestClient, teller: Teller, query: str, status: int, words: str) -> None:
    """A question that cannot be answered is answered with what it lacks."""
    teller.tell(level("MUG", "lyon"))

    answer = client.get(f"/stock/MUG/nearest?{query}")

    assert answer.status_code == status
    assert words in str(answer.json()["detail"])
