"""GET an order, the stock of an item, what a channel may sell: the unified records as JSON. And reservations."""

from __future__ import annotations

import html
from datetime import UTC, datetime
from typing import Any

from fastapi import FastAPI, HTTPException, Response
from fastapi.responses import HTMLResponse, JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from sqlalchemy import Engine, func, select

from hub.api.desk import Desk
from hub.api.reservations import router
from hub.store.tables import availability, items, orders, progress, stock
from streams.places import Places

STALE_SECONDS = 15


class StockAnswer(BaseModel):
    """Every place of one item."""

    sku: str
    title: str | None
    locations: list[dict[str, Any]]


def build(engine: Engine, places: Places, desk: Desk) -> FastAPI:
    """The application over one SQL engine; `desk` takes what is asked of stock."""
    app = FastAPI(
        title="Crossdock", version="0.0.1", docs_url=None, redoc_url=None, description="One stock, one order, one customer truth across all channels."
    )

    @app.get("/orders/{order_id}", summary="One order")
    def order(order_id: str) -> dict[str, Any]:
        """The unified order. Its id is channel:native-id, for example shopify:5402949213880."""
        return _document(engine, select(orders.c.document).where(orders.c.order_id == order_id), f"order {order_id}")

    @app.get("/stock/{sku}", summary="One item at every place")
    def stock_of(sku: str) -> StockAnswer:
        """Every quantity of the item at every place that ever had it."""
        with engine.connect() as sql:
            found = [r.document for r in sql.execute(select(stock.c.document).where(stock.c.sku == sku).order_by(stock.c.location))]
            title = sql.execute(select(items.c.title).where(items.c.sku == sku)).scalar()
        if not found and title is None:
            raise HTTPException(404, f"there is no item {sku}")
        return StockAnswer(sku=sku, title=title, locations=found)

    @app.get("/availability/{channel}/{sku}", summary="What one channel may sell of one item")
    def available(channel: str, sku: str) -> dict[str, Any]:
        """The number, whether it is known, and the places it is made of."""
        return _document(
            engine, select(availability.c.document).where(availability.c.channel == channel, availability.c.sku == sku), f"availability of {sku} in {channel}"
        )

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


def _document(engine: Engine, query: Any, what: str) -> dict[str, Any]:
    with engine.connect() as sql:
        found = sql.execute(query).scalar()
    if found is None:
        raise HTTPException(404, f"there is no {what}")
    result: dict[str, Any] = found
    return result


def freshness(engine: Engine) -> tuple[bool, dict[str, Any]]:
    """(the store is current, lag per topic and the age of its last step)."""
    with engine.connect() as sql:
        rows = sql.execute(
            select(progress.c.topic, func.sum(progress.c.lag).label("lag"), func.max(progress.c.at).label("at")).group_by(progress.c.topic)
        ).all()
    now = datetime.now(UTC)
    topics = {r.topic: {"lag": int(r.lag), "age_s": round((now - _aware(r.at)).total_seconds(), 1)} for r in rows}
    ok = bool(topics) and all(t["lag"] == 0 or t["age_s"] < STALE_SECONDS for t in topics.values())
    return ok, {"ok": ok, "topics": topics}


def _aware(at: datetime) -> datetime:
    """SQLite forgets the zone; everything is written in UTC."""
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _docs(app: FastAPI) -> str:
    """The API on one page, without a script or a font from anywhere else."""
    rows = []
    for path, methods in app.openapi()["paths"].items():
        for method, operation in methods.items():
            summary, text = operation.get("summary", ""), operation.get("description", "")
            cells = (f"<code>{method.upper()}</code>", f"<code>{html.escape(path)}</code>", html.escape(summary), html.escape(text))
            rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return _PAGE.replace("{rows}", "".join(rows))


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
<thead><tr><th scope="col">Method</th><th scope="col">Path</th><th scope="col">What</th><th scope="col">Details</th></tr></thead>
<tbody>{rows}</tbody>
</table>
</main>
</body>
</html>
"""
