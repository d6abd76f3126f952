"""Keeps a server no longer than its owner.

    python -I -S guard.py PIPE PIDFILE GRACE COMMAND...

Runs COMMAND, writes its pid to PIDFILE and ends it (SIGTERM, after GRACE seconds SIGKILL) when PIPE reaches its end: the
owner holds the only write end, so the kernel closes it however the owner ends. On Linux the command also dies with the
guard itself. Standalone on purpose: it imports nothing of the project and starts in a few milliseconds.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading

PR_SET_PDEATHSIG = 1


def main() -> None:
    pipe, pidfile, grace, command = int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), sys.argv[4:]
    for ignored in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    guard = os.getpid()

    def in_child() -> None:
        for default in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(default, signal.SIG_DFL)
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != guard:
                os._exit(1)

    child = subprocess.Popen(command, preexec_fn=in_child)
    with open(pidfile, "w", encoding="ascii") as target:
        target.write(f"{child.pid}\n")

    def follow() -> None:
        code = child.wait()
        os._exit(code if code >= 0 else 128 - code)

    threading.Thread(target=follow, daemon=True).start()
    while os.read(pipe, 1):
        pass
    child.terminate()
    threading.Event().wait(grace)
    child.kill()
    threading.Event().wait()


if __name__ == "__main__":
    main()
