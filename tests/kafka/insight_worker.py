"""Runs the insight app until killed: insight_worker.py BOOTSTRAP PARTITIONS."""

import sys
import threading

from schemas.registry import LocalSerde
from streams.insight.main import run

run(sys.argv[1], LocalSerde(), int(sys.argv[2]), threading.Event(), "0", lambda name, ok, detail: None)
