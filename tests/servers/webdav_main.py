"""The process of the WebDAV server of tests: wsgidav over a folder, a thread per request. Arguments: folder, port, user, password."""

from __future__ import annotations

import io
import sys
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from wsgidav.wsgidav_app import WsgiDAVApp


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 64


class Handler(WSGIRequestHandler):
    def log_message(self, *_args: object) -> None:
        pass


def main() -> None:
    folder, port, user, password = sys.argv[1:]
    app = WsgiDAVApp(
        {
            "provider_mapping": {"/": folder},
            "simple_dc": {"user_mapping": {"*": {user: {"password": password}}}},
            "http_authenticator": {"accept_basic": True, "accept_digest": False, "default_to_digest": False},
            "lock_storage": True,
            "property_manager": False,
            "verbose": 1,
            "logging": {"enable": False},
        }
    )

    def bounded(environ: dict[str, Any], start_response: Any) -> Any:
        """Let the application read a request's body and no more: wsgiref hands it the bare socket."""
        length = int(environ.get("CONTENT_LENGTH") or 0)
        environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(length) if length else b"")
        return app(environ, start_response)

    make_server("127.0.0.1", int(port), bounded, Server, Handler).serve_forever()


if __name__ == "__main__":
    main()
