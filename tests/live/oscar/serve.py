"""The shop on a free port, which is printed. It ends when its standard input closes, so it cannot outlive who started it."""

import sys
import threading
from wsgiref.simple_server import WSGIRequestHandler, make_server

import django

django.setup()

from django.core.wsgi import get_wsgi_application  # noqa: E402


class Quiet(WSGIRequestHandler):
    def log_message(self, format, *args):
        pass


server = make_server("127.0.0.1", 0, get_wsgi_application(), handler_class=Quiet)
print(server.server_port, flush=True)


def until_closed():
    sys.stdin.read()
    server.shutdown()


threading.Thread(target=until_closed, daemon=True).start()
server.serve_forever(poll_interval=0.1)
server.server_close()
