"""Memory out of large pages (streams/_pages.c): asked for where there are any, and given back."""

from __future__ import annotations

import subprocess
import sys

from streams import quick

GROW = """
import re, sys
from pathlib import Path
from streams import quick

def asked_for():
    # how much of the memory that is there lies where large pages were asked for [MiB]
    found, resident = 0, 0
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if line.startswith("Rss:"):
            resident = int(line.split()[1])
        elif line.startswith("VmFlags:") and " hg" in line:
            found += resident
    return found // 1024

before = asked_for()
quick.spare_the_machine()
quick.spare_the_machine()
many = [f"{n:0100d}" for n in range(600_000)]
table = dict.fromkeys(many)
there = asked_for()
assert all(many[n] == f"{n:0100d}" for n in range(0, 600_000, 997)) and len(table) == 600_000
del many, table
print(before, there, asked_for())
"""


def grown() -> list[int]:
    """In a process of its own: before, with 600,000 texts and a table of them, and after they have gone [MiB]."""
    ran = subprocess.run([sys.executable, "-c", GROW], check=True, capture_output=True, text=True)
    return [int(word) for word in ran.stdout.split()]


def test_what_is_many_lies_on_large_pages_and_goes_back_to_the_system() -> None:
    """Texts of 160 bytes and their table ask for large pages once an engine's process has said so, and leave next to nothing behind."""
    assert (quick.pages is None) == (quick.library is None)  # both were built, or there is no compiler here
    if quick.pages is None or sys.platform != "linux":  # Python's own way, which needs no test of ours
        return
    before, there, after = grown()
    assert before == 0
    assert there >= 90
    assert after <= there // 4
