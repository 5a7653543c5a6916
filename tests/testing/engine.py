"""A Docker engine as far as the plugin needs one: its API over a socket, a server behind it.

What stands for the container is a real PostgreSQL on a port of its own with a password; what
an engine does to images, processes and networks is not there.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """PostgreSQL's programs, and the account that can run them."""

    bindir: Path
    uid: int


ID = "c0ffee" * 10


class Engine:
    """What the requests see and change."""

    def __init__(self, folder: Path, programs: Programs, *, images: tuple[str, ...]) -> None:
        self.folder = folder
        self.programs = programs
        self.images = images
        self.asked: list[str] = []
        self.created: dict[str, Any] | None = None
        self.port = 0
        self.status = ""
        """What the container is said to be, if not what its server is."""
        self.label = ""
        """Whose it is said to be, if not whose it was created as."""
        self.refuses_start = False
        self.pulling = threading.Event()
        """Set when a pull has begun; it goes on until `pulled` is set."""
        self.pulled = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """Status and body for a request."""
        path = re.sub(r"^/v[0-9.]+", "", path.partition("?")[0])
        self.asked.append(f"{method} {path}")
        if path in {"/_ping", "/version"}:
            return 200, {"ApiVersion": "1.47", "Version": "27.0"}
        if path == "/images/create":
            self.pulling.set()
            assert self.pulled.wait(60)
            self.images = ("pgvector/pgvector:pg18",)
            return 200, {}
        if path.startswith("/images/"):
            name = path.removeprefix("/images/").removesuffix("/json")
            there = name in self.images
            return (
                (200, {"Id": "sha256:0", "RepoTags": [name]})
                if there
                else (404, {"message": "no such image"})
            )
        if path == "/containers/json":
            return 200, [] if self.created is None else [{"Id": ID}]
        if path == "/containers/create":
            self.created = body
            return 201, {"Id": ID, "Warnings": []}
        if self.created is None:
            return 404, {"message": "no such container"}
        if path.endswith("/start"):
            if self.refuses_start:
                return 500, {"message": "no room for a tmpfs"}
            self._start()
            return 204, None
        if method == "DELETE":
            self.end()
            return 204, None
        return 200, self._inspected()

    def _inspected(self) -> dict[str, Any]:
        assert self.created is not None
        bound = [{"HostIp": "127.0.0.1", "HostPort": str(self.port)}]
        return {
            "Id": ID,
            "Name": "/brave_fake",
            "State": {"Status": self.status or ("running" if self._process else "created")},
            "Config": {
                "Env": self.created["Env"],
                "Labels": {k: self.label or v for k, v in self.created["Labels"].items()},
            },
            "NetworkSettings": {"Ports": {"5432/tcp": bound}},
        }

    def _start(self) -> None:
        assert self.created is not None
        env = dict(entry.split("=", 1) for entry in self.created["Env"])
        secret, data = self.folder / "secret", self.folder / "data"
        secret.write_text(env["POSTGRES_PASSWORD"])
        data.mkdir(mode=0o700)
        for path in (secret, data):
            os.chown(path, self.programs.uid, -1)
        options = ["-U", "postgres", "--auth=scram-sha-256", f"--pwfile={secret}", "--no-sync"]
        self._run("initdb", data, *options).wait(60)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        settings = (f"--port={self.port}", "--listen_addresses=127.0.0.1", "--fsync=off")
        self._process = self._run("postgres", data, *settings, "--unix_socket_directories=")

    def _run(self, program: str, data: Path, *options: str) -> subprocess.Popen[bytes]:
        uid = self.programs.uid
        return subprocess.Popen(
            [self.programs.bindir / program, "-D", data, *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            **({} if uid == os.geteuid() else {"user": uid}),  # type: ignore[call-overload]
        )

    def end(self) -> None:
        """Remove the container."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
            self._process = None
        shutil.rmtree(self.folder / "data", ignore_errors=True)
        self.created = None


class _Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True


@contextmanager
def running(
    folder: Path, programs: Programs, *, images: tuple[str, ...] = ()
) -> Iterator[tuple[Engine, str]]:
    """An engine that has these images, and its DOCKER_HOST."""
    engine = Engine(folder, programs, images=images)

    class Requests(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or b"null")
            status, value = engine.answer(self.command, self.path, body)
            text = b"" if value is None else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_DELETE = _answer

        def address_string(self) -> str:
            return ""

        def log_message(self, *words: object) -> None:
            return

    server = _Server(str(folder / "engine.sock"), Requests)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield engine, f"unix://{folder}/engine.sock"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        engine.end()
