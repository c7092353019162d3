"""A small server that speaks as much of the Hugging Face hub's protocol as its client asks for."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

Repos = Mapping[str, Mapping[str, Path]]
"""Repository → revision (branch or tag) → the folder it holds."""


class Hub(ThreadingHTTPServer):
    """``requests`` counts what was asked for, as ``"GET model.safetensors"``."""

    daemon_threads = True

    def __init__(self, repos: Repos):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repos = repos
        self.requests: Counter[str] = Counter()
        self.broken: set[str] = set()  # files whose body stops half-way

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def commit(self, repo: str, revision: str) -> str | None:
        """The commit that a revision names: a hash of the revision, or the hash itself."""
        commits = {name: hashlib.sha1(f"{repo}@{name}".encode()).hexdigest() for name in self.repos[repo]}
        return revision if revision in commits.values() else commits.get(revision)

    def folder(self, repo: str, commit: str) -> Path:
        return next(path for name, path in self.repos[repo].items() if self.commit(repo, name) == commit)


@contextmanager
def running(repos: Repos) -> Iterator[Hub]:
    with Hub(repos) as hub:
        thread = threading.Thread(target=hub.serve_forever, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *args: object) -> None:
        pass

    def _answer(self) -> None:
        path = self.path.partition("?")[0]
        if match := re.fullmatch(r"/(.+?)/resolve/([^/]+|refs%2Fpr%2F\d+)/(.+)", path):
            self._file(match[1], match[2].replace("%2F", "/"), match[3])
        elif match := re.fullmatch(r"/api/models/(.+?)/(tree|revision)/([^/]+)/?", path):
            self._listing(match[1], match[2], match[3])
        else:
            self._fail(404, "RepoNotFound", f"no such page {path}")

    def _commit(self, repo: str, revision: str) -> str | None:
        if repo not in self.server.repos:
            self._fail(401, "RepoNotFound", "Repository not found")  # as the hub answers those not logged in
            return None
        if self.server.commit(repo, revision) is None:
            self._fail(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return self.server.commit(repo, revision)

    def _file(self, repo: str, revision: str, name: str) -> None:
        self.server.requests[f"{self.command} {name}"] += 1
        if (commit := self._commit(repo, revision)) is None:
            return
        path = self.server.folder(repo, commit) / name
        if not path.is_file():
            self._fail(404, "EntryNotFound", "Entry not found", commit)
            return
        body = path.read_bytes()
        etag = hashlib.sha256(body).hexdigest()
        self._send(200, body, {"ETag": f'"{etag}"', "X-Repo-Commit": commit}, stop=name in self.server.broken)

    def _listing(self, repo: str, kind: str, revision: str) -> None:
        if (commit := self._commit(repo, revision)) is None:
            return
        paths = sorted(self.server.folder(repo, commit).iterdir())
        tree = [
            {"type": "file", "path": path.name, "size": path.stat().st_size, "oid": "0" * 40}
            for path in paths
        ]
        siblings = [{"rfilename": path.name} for path in paths]
        facts = tree if kind == "tree" else {"id": repo, "sha": commit, "siblings": siblings}
        self._send(200, json.dumps(facts).encode(), {"Content-Type": "application/json"})

    def _fail(self, status: int, code: str, message: str, commit: str = "") -> None:
        headers = {"X-Error-Code": code, "X-Error-Message": message}
        self._send(status, message.encode(), headers | ({"X-Repo-Commit": commit} if commit else {}))

    def _send(self, status: int, body: bytes, headers: Mapping[str, str], *, stop: bool = False) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[: len(body) // 2] if stop else body)
            if stop:
                self.close_connection = True
