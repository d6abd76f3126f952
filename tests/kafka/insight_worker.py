"""Runs the insight app until killed: insight_worker.py BOOTSTRAP PARTITIONS."""

import logging
import sys
import threading

from hub.supervise import die_with_parent
from schemas.registry import LocalSerde
from streams.insight.main import run

logging.basicConfig(level=logging.INFO)
die_with_parent()
run(sys.argv[1], LocalSerde(), int(sys.argv[2]), threading.Event(), "0", lambda name, ok, detail: None)
