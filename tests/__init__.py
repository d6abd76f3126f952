"""Tests: `make test` runs them in lanes, see tests/lanes.py."""
