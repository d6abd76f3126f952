"""Fifty customers at once: `python -m tests.proc.buyers BASE BUYERS ROUNDS`.

Each is a process of its own with a connection of its own. In every round all of them wait for each other, then ask for the one
unit of that round's item. What each was told is printed as one JSON object per line.
"""

from __future__ import annotations

import http.client
import json
import multiprocessing
import sys
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from urllib.parse import urlsplit

CHANNELS = ("web", "app", "market", "phone")
PATIENCE = 120.0


def buy(base: str, number: int, rounds: int, together: Barrier, told: Queue[str]) -> None:
    """One customer."""
    address = urlsplit(base)
    channel = CHANNELS[number % len(CHANNELS)]
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
    for round_ in range(rounds):
        together.wait(PATIENCE)
        body = {"sku": f"LAST-{round_}", "owner": f"{channel}:{number}", "channel": channel}
        connection.request("PUT", f"/reservations/{channel}:{number}:{round_}", json.dumps(body), {"content-type": "application/json"})
        answer = connection.getresponse()
        told.put(json.dumps({"round": round_, "buyer": number, "status": answer.status, "body": json.loads(answer.read())}))


def main() -> None:
    base, buyers, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    context = multiprocessing.get_context("fork")
    together, told = context.Barrier(buyers), context.Queue()
    crowd = [context.Process(target=buy, args=(base, number, rounds, together, told)) for number in range(buyers)]
    for one in crowd:
        one.start()
    for _ in range(buyers * rounds):
        print(told.get(timeout=PATIENCE), flush=True)
    for one in crowd:
        one.join()


if __name__ == "__main__":
    main()
