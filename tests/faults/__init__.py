"""Real faults: real processes on a real Kafka that are killed, frozen, cut off and lied to.

A test runs a world (world.py: the engine alone; hub.py: parts of a real hub), keeps a history of what was sent, acknowledged, broken and
seen (history.py), and lets one program (check.py) read history and topics and decide. `python -m tests.faults.check build/faults/NAME.jsonl`
decides again, later, from the files alone.
"""
