"""The api part: the query API on its own port."""

from __future__ import annotations

import threading

import uvicorn

from hub.api.app import build, freshness
from hub.api.desk import Desk
from hub.errors import Retry
from hub.runtime import Runtime
from hub.store.writer import connect
from schemas.registry import RegistrySerde


def run(runtime: Runtime) -> None:
    """Until told to stop."""
    engine = None
    while engine is None and not runtime.stop.is_set():
        try:
            engine = connect(runtime.config.sql_url)
        except Retry as error:
            runtime.health.beat("api", False, str(error))
            runtime.stop.wait(0.5)
    if engine is None:
        return
    ready = engine
    config = runtime.config
    serde = RegistrySerde(config.registry_url)
    desk = Desk(config.bootstrap, serde)
    desk.start()
    runtime.health.check(lambda: ("api", freshness(ready)[0], "the store's progress"))
    server = uvicorn.Server(uvicorn.Config(build(engine, config.places, desk), host="127.0.0.1", port=config.api.port, log_level="warning", access_log=False))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.run, name="api")
    thread.start()
    runtime.stop.wait()
    server.should_exit = True
    thread.join(10)
    desk.close()
    serde.close()
