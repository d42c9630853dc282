"""A server that speaks S3 on this machine, and one before it that fails now and then."""

from __future__ import annotations

import http.client
import random
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from many_ranks import free_port


@contextmanager
def s3_server(folder: Path) -> Iterator[str]:
    """Yield its address; `folder` gets what it says."""
    port, errors = free_port(), folder / "errors"
    with open(errors, "wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log
        )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(address, timeout=5).close()
                break
            except (urllib.error.URLError, OSError):
                assert time.monotonic() < deadline and server.poll() is None, errors.read_text()
                time.sleep(0.3)
        yield address
    finally:
        server.kill()
        server.wait()


def credentials_for(address: str) -> dict[str, str]:
    """Return the environment in which s3:// is this server."""
    keys = {"AWS_ACCESS_KEY_ID": "an-id", "AWS_SECRET_ACCESS_KEY": "a-secret-word"}
    return {"AWS_ENDPOINT_URL": address, **keys, "AWS_DEFAULT_REGION": "us-east-1"}


@contextmanager
def failing(address: str, share: float) -> Iterator[tuple[str, Counter[str]]]:
    """Yield the address of a server that asks another, and a count of what it did: that share are 503s or resets.

    Half of the resets come after the other has done what was asked.
    """
    chance, did = random.Random(0), Counter[str]()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            fault = chance.choice(("503", "reset", "late reset")) if chance.random() < share else ""
            did[fault or "answered"] += 1
            if fault == "503":
                self.send_response(503)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if fault != "reset":
                other = http.client.HTTPConnection(address.removeprefix("http://"), timeout=60)
                other.request(self.command, self.path, body, dict(self.headers))
                answer = other.getresponse()
                data = answer.read()
                other.close()
            if fault:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                self.connection.close()
                return
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("connection", "transfer-encoding", "content-length", "date", "server"):
                    self.send_header(name, value)
            length = answer.getheader("Content-Length") if self.command == "HEAD" else None
            self.send_header("Content-Length", length or str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any

        def log_message(self, *arguments: object) -> None:
            pass

        def handle(self) -> None:
            with suppress(OSError, ValueError):
                super().handle()

        def finish(self) -> None:
            with suppress(OSError, ValueError):
                super().finish()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", did
    finally:
        server.shutdown()
        server.server_close()
