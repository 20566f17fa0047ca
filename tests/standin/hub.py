"""A stand-in for the Hugging Face hub on loopback: repositories, the upload of files, commits."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import yaml


class HubStandIn:
    """Use it as a context manager. ``repos`` are the committed files by repository and path.

    ``token`` is the one that may write; ``refuse`` a status that every request is answered with;
    ``break_at`` a part of a path whose requests end in HTTP 400.
    """

    def __init__(self) -> None:
        self.token = "hf_good"
        self.refuse = 0
        self.break_at = ""
        self.repos: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.messages: list[str] = []
        self.seen: list[str] = []
        self._blobs: dict[str, bytes] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> HubStandIn:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def respond(self, method: str, path: str, content: bytes, token: str) -> tuple[int, Any]:
        path = path.partition("?")[0]
        self.seen.append(f"{method} {path}")
        if self.refuse or (self.break_at and self.break_at in path):
            return self.refuse or 400, {"error": "broken"}
        if path.startswith("/blobs/"):
            self._blobs[path.removeprefix("/blobs/")] = content
            return 200, {}
        if token != f"Bearer {self.token}":
            return 401, {"error": "Invalid username or password."}
        if path == "/api/repos/create":
            return self._create(json.loads(content))
        if path == "/api/validate-yaml":
            yaml.safe_load(json.loads(content)["content"].split("---")[1])
            return 200, {"errors": [], "warnings": []}
        return self._of_repo(path, content)

    def _of_repo(self, path: str, content: bytes) -> tuple[int, Any]:
        parts = path.strip("/").split("/")
        if path.endswith("/info/lfs/objects/batch"):
            objects = json.loads(content)["objects"]
            return 200, {"transfer": "basic", "objects": [self._place(each) for each in objects]}
        repo = "/".join(parts[2:4])
        if parts[:2] != ["api", "models"] or repo not in self.repos:
            return 404, {"error": "Repository not found"}
        if parts[4:5] == ["preupload"]:
            return 200, {"files": [self._mode(file) for file in json.loads(content)["files"]]}
        if parts[4:5] == ["commit"]:
            return self._commit(repo, content)
        return 200, {"id": repo, "modelId": repo, "sha": "0" * 40, "siblings": [], "private": True}

    def _create(self, asked: dict[str, Any]) -> tuple[int, Any]:
        repo = f"{asked['organization']}/{asked['name']}"
        there = repo in self.repos
        self.repos.setdefault(repo, {})
        self.private.setdefault(repo, asked.get("visibility") == "private" or asked.get("private") is True)
        said = {"error": "You already created this model repo"} if there else {}
        return (409 if there else 200), said | {"url": f"{self.url}/{repo}"}

    @staticmethod
    def _mode(file: dict[str, Any]) -> dict[str, Any]:
        large = file["path"].endswith(".safetensors")
        return {"path": file["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}

    def _place(self, asked: dict[str, Any]) -> dict[str, Any]:
        return asked | {"actions": {"upload": {"href": f"{self.url}/blobs/{asked['oid']}", "header": {}}}}

    def _commit(self, repo: str, content: bytes) -> tuple[int, Any]:
        files: dict[str, bytes] = {}
        for line in content.decode().splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header":
                self.messages.append(value["summary"])
            elif entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                blob = self._blobs[value["oid"]]
                assert hashlib.sha256(blob).hexdigest() == value["oid"]
                files[value["path"]] = blob
        self.repos[repo] |= files
        oid = hashlib.sha1(content).hexdigest()
        return 200, {"commitUrl": f"{self.url}/{repo}/commit/{oid}", "commitOid": oid, "success": True}

    def _handler(owner) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                content = b""
                if "chunked" in self.headers.get("Transfer-Encoding", ""):
                    while size := int(self.rfile.readline(), 16):
                        content += self.rfile.read(size)
                        self.rfile.readline()
                    self.rfile.readline()
                else:
                    content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                token = self.headers.get("Authorization", "")
                status, document = owner.respond(self.command, self.path, content, token)
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_HEAD = _answer  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        return Handler
