"""Where a process can be made to die, for the tests that kill it.

CROSSDOCK_FAILPOINT=name[:n] ends the process with SIGKILL when it comes to the failpoint `name` for the n-th time (1 when
left out). Read once, off by default.
"""

from __future__ import annotations

import os
import signal

_name, _, _count = os.environ.get("CROSSDOCK_FAILPOINT", "").partition(":")
_left = int(_count) if _count else 1


def hit(name: str) -> None:
    """The process has come to this failpoint."""
    global _left
    if name != _name:
        return
    _left -= 1
    if _left <= 0:
        os.kill(os.getpid(), signal.SIGKILL)
