"""GET an order, what there is of an item and why, what a channel may sell and how that comes about. And reservations."""

from __future__ import annotations

import html
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.routing import APIRoute
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy import Engine, func, select
from sqlalchemy.exc import DataError, OperationalError
from starlette.routing import Match

from hub.api.availability import AvailabilityAnswer, ChannelAnswer, available, available_in
from hub.api.desk import Desk
from hub.api.reservations import router
from hub.api.stock import (
    ENTRIES,
    LARGEST_PAGE,
    PAGE,
    LocationAnswer,
    NearestAnswer,
    NotThere,
    StockAnswer,
    Unclear,
    nearest,
    position_of,
    stock_at,
    stock_of,
)
from hub.store.tables import NEWEST, aware, orders, progress
from streams.places import Places

STALE_SECONDS = 15

After = Annotated[str | None, Query(description="the SKU after which the page begins: next of the page before")]
Limit = Annotated[int, Query(ge=1, le=LARGEST_PAGE)]


class _Nearest(APIRoute):
    """A SKU may end in /nearest itself; then its slash is written %2F, which only the path as it was sent tells."""

    def matches(self, scope: Any) -> tuple[Match, Any]:
        if not scope.get("raw_path", b"/nearest").endswith(b"/nearest"):
            return Match.NONE, {}
        return super().matches(scope)


def build(engine: Engine, places: Places, desk: Desk) -> FastAPI:
    """The application over one SQL engine and locations.yaml; `desk` takes what is asked of stock."""
    app = FastAPI(
        title="Crossdock", version="0.0.1", docs_url=None, redoc_url=None, description="One stock, one order, one customer truth across all channels."
    )
    app.add_exception_handler(NotThere, _answer(404))
    app.add_exception_handler(Unclear, _answer(422))
    app.add_exception_handler(DataError, _answer(422, "a parameter holds what no database can look for"))
    app.add_exception_handler(OperationalError, _answer(503, "the SQL store does not answer"))

    @app.get("/orders/{order_id}", summary="One order")
    def order(order_id: str) -> dict[str, Any]:
        """The unified order. Its id is channel:native-id, for example shopify:5402949213880."""
        with engine.connect() as sql:
            found: dict[str, Any] | None = sql.scalar(select(orders.c.document).where(orders.c.order_id == order_id))
        if found is None:
            raise HTTPException(404, f"there is no order {order_id}")
        return found

    app.include_router(_stock(engine, places))
    app.include_router(_availability(engine, places))

    app.include_router(router(engine, places, desk))

    @app.get("/healthz", summary="Whether what is answered here is current")
    def healthz() -> JSONResponse:
        """503 while the store lags without moving, or has not started: progress, not a running process."""
        ok, report = freshness(engine)
        return JSONResponse(report, 200 if ok else 503)

    @app.get("/metrics", summary="Prometheus metrics", include_in_schema=False)
    def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return HTMLResponse(_docs(app))

    return app


def _stock(engine: Engine, places: Places) -> APIRouter:
    router, near = APIRouter(), APIRouter(route_class=_Nearest)

    @near.get("/stock/{sku:path}/nearest", summary="Where the nearest units are")
    def nearest_of(
        sku: str,
        to: Annotated[str | None, Query(description="a place of locations.yaml")] = None,
        latitude: Annotated[float | None, Query(ge=-90, le=90, description="degrees north")] = None,
        longitude: Annotated[float | None, Query(ge=-180, le=180, description="degrees east")] = None,
        quantity: Annotated[int, Query(ge=1, le=2**31 - 1)] = 1,
    ) -> NearestAnswer:
        """Places with at least that many free units (atp), nearest first with kilometres; those without a position last.

        Ask with to, or with latitude and longitude."""
        here = position_of(places, to, latitude, longitude)
        with engine.connect() as sql:
            return nearest(sql, places, sku, here, quantity)

    @router.get("/stock", summary="A place's items")
    def at_place(
        location: Annotated[str, Query(description="a place of locations.yaml")],
        limit: Limit = PAGE,
        after: After = None,
        short: Annotated[bool, Query(description="only what is promised and not there")] = False,
    ) -> LocationAnswer:
        """Every quantity of each item there, by SKU, a page at a time."""
        with engine.connect() as sql:
            return stock_at(sql, places, location, datetime.now(UTC), limit, after, short)

    @router.get("/stock/{sku:path}", summary="One item at every place")
    def everywhere(sku: str, entries: Annotated[int, Query(ge=0, le=NEWEST, description="of the ledger, for each place")] = ENTRIES) -> StockAnswer:
        """Every quantity at every place that ever had it, how old the count is that it rests on, who counts there, and why it is so: the
        last entries of the ledger, newest first.

        Case and outer blanks of the SKU do not matter; the answer has the item's own spelling."""
        with engine.connect() as sql:
            return stock_of(sql, places, sku, datetime.now(UTC), entries)

    near.include_router(router)
    return near


def _availability(engine: Engine, places: Places) -> APIRouter:
    router = APIRouter()

    @router.get("/availability/{channel}", summary="What one channel may sell")
    def all_of(channel: str, limit: Limit = PAGE, after: After = None) -> ChannelAnswer:
        """Every item that the channel has been told about, by SKU, a page at a time, each with its calculation."""
        with engine.connect() as sql:
            return available_in(sql, places, channel, datetime.now(UTC), limit, after)

    @router.get("/availability/{channel}/{sku:path}", summary="What one channel may sell of one item")
    def one(channel: str, sku: str) -> AvailabilityAnswer:
        """The number and how it comes about: free units of each place, units taken by those who wait, buffer, floor, cap, a sentence for each step."""
        with engine.connect() as sql:
            return available(sql, places, channel, sku, datetime.now(UTC))

    return router


def _answer(status: int, words: str = "") -> Callable[[Request, Exception], JSONResponse]:
    """These words, or the error's own, under this status."""
    return lambda _, error: JSONResponse({"detail": words or str(error)}, status)


def freshness(engine: Engine) -> tuple[bool, dict[str, Any]]:
    """(the store is current, lag per topic and the age of its last step)."""
    with engine.connect() as sql:
        rows = sql.execute(
            select(progress.c.topic, func.sum(progress.c.lag).label("lag"), func.max(progress.c.at).label("at")).group_by(progress.c.topic)
        ).all()
    now = datetime.now(UTC)
    topics = {r.topic: {"lag": int(r.lag), "age_s": round((now - aware(r.at)).total_seconds(), 1)} for r in rows}
    ok = bool(topics) and all(t["lag"] == 0 or t["age_s"] < STALE_SECONDS for t in topics.values())
    return ok, {"ok": ok, "topics": topics}


def _docs(app: FastAPI) -> str:
    """The API on one page, without a script or a font from anywhere else."""
    rows = []
    for path, methods in app.openapi()["paths"].items():
        for method, operation in methods.items():
            summary, text = operation.get("summary", ""), operation.get("description", "")
            asked = ", ".join(_parameter(each) for each in operation.get("parameters", []) if each["in"] == "query")
            cells = (f"<code>{method.upper()}</code>", f"<code>{html.escape(path)}</code>", html.escape(summary), html.escape(text), asked)
            rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return _PAGE.replace("{rows}", "".join(rows))


def _parameter(parameter: dict[str, Any]) -> str:
    """Its name, and what else is known of it."""
    schema, text = parameter["schema"], html.escape(parameter.get("description", ""))
    default = f"default {schema['default']}" if schema.get("default") is not None else ""
    most = f"at most {schema['maximum']}" if parameter["name"] in ("limit", "entries") else ""
    notes = "; ".join(note for note in ("required" if parameter.get("required") else "", default, most, text) if note)
    return f"<code>{html.escape(parameter['name'])}</code>" + (f" ({notes})" if notes else "")


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Crossdock API</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #1a1a1a; background: #fff }
table { border-collapse: collapse; width: 100% }
caption { text-align: left; padding: .5rem 0 }
th, td { text-align: left; padding: .5rem; border-bottom: 1px solid #ccc; vertical-align: top }
code { background: #f2f2f2; padding: .1em .3em }
a { color: #0645ad }
</style>
</head>
<body>
<main>
<h1>Crossdock API</h1>
<p>The machine-readable description is <a href="openapi.json">openapi.json</a>.</p>
<table>
<caption>Operations</caption>
<thead><tr><th scope="col">Method</th><th scope="col">Path</th><th scope="col">What</th><th scope="col">Details</th><th scope="col">Parameters</th></tr></thead>
<tbody>{rows}</tbody>
</table>
</main>
</body>
</html>
"""
