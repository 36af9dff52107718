"""A Hub on 127.0.0.1 that takes uploads as huggingface_hub makes them: repositories, the question
which files are large, LFS, and commits."""

import base64
import hashlib
import json
import re
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.clinical.hub_server import serve

_PLACE = re.compile(
    r"/(?:api/models/)?(?P<repository>[^/]+/[^/.]+)"
    r"(?P<rest>/preupload/main|/commit/main|\.git/info/lfs/objects/batch|)"
)
COMMIT = "c" * 40


@dataclass
class UploadHub:
    """What was sent, and how the server misbehaves."""

    private: dict[str, bool] = field(default_factory=dict)
    """Repository to whether only its owners read it."""
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """Repository to the files of its last commit."""
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)
    """SHA-256 to the content of a large file."""
    status: int | None = None
    """Every answer, if it is set."""
    wrong_header: str = ""
    """Why the header of a card is refused; empty takes it."""
    reason: str = ""
    """Why the Hub refuses, as it says with `status`."""


def serve_uploads(hub: UploadHub) -> AbstractContextManager[str]:
    """Serve a hub; gives its address."""
    return serve(hub, _Handler)


class _Handler(BaseHTTPRequestHandler):
    hub: UploadHub

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._note()
        match = _PLACE.fullmatch(self.path)
        name = match["repository"] if match else ""
        if self.hub.status is not None:
            self._answer({"error": self.hub.reason}, self.hub.status)
        elif name not in self.hub.private:
            self._answer({}, 404, {"X-Error-Code": "RepoNotFound"})
        else:
            private = self.hub.private[name]
            self._answer({"id": name, "private": private, "sha": COMMIT, "siblings": []})

    def do_PUT(self) -> None:
        self._note()
        content = self._body()
        oid = self.path.removeprefix("/blobs/")
        assert hashlib.sha256(content).hexdigest() == oid
        self.hub.blobs[oid] = content
        self._answer({}, headers={"ETag": oid})

    def do_POST(self) -> None:
        self._note()
        body = self._body()
        if self.hub.status is not None:
            self._answer({"error": self.hub.reason}, self.hub.status)
        elif self.path == "/api/repos/create":
            self._create(json.loads(body))
        elif self.path == "/api/validate-yaml":
            assert json.loads(body)["content"].startswith("---\n")
            errors = [{"message": self.hub.wrong_header}] if self.hub.wrong_header else []
            self._answer({"errors": errors, "warnings": []}, 400 if errors else 200)
        else:
            match = _PLACE.fullmatch(self.path)
            assert match is not None, self.path
            kind = match["rest"].split("/")[1] if "preupload" in self.path else match["rest"]
            if kind == "preupload":
                self._sort(json.loads(body))
            elif kind == "/commit/main":
                self._commit(match["repository"], body)
            else:
                self._batch(json.loads(body))

    def _create(self, asked: dict[str, Any]) -> None:
        name = f"{asked['organization']}/{asked['name']}"
        status = 409 if name in self.hub.private else 200
        self.hub.private.setdefault(name, asked["visibility"] == "private")
        self._answer({"url": f"http://{self.headers['Host']}/{name}"}, status)

    def _sort(self, asked: dict[str, Any]) -> None:
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                "shouldIgnore": False,
                "oid": None,
            }
            for file in asked["files"]
        ]
        self._answer({"files": files})

    def _batch(self, asked: dict[str, Any]) -> None:
        address = f"http://{self.headers['Host']}/blobs/"
        objects = [
            {**one, "actions": {"upload": {"href": address + one["oid"]}}}
            for one in asked["objects"]
        ]
        self._answer({"transfer": "basic", "objects": objects})

    def _commit(self, repository: str, body: bytes) -> None:
        files: dict[str, bytes] = {}
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "header":
                self.hub.messages.append(value["summary"])
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.blobs[value["oid"]]
        self.hub.files[repository] = files
        url = f"http://{self.headers['Host']}/{repository}/commit/{COMMIT}"
        self._answer({"commitUrl": url, "commitOid": COMMIT})

    def _note(self) -> None:
        self.hub.requests.append(f"{self.command} {self.path}")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            content = b""
            while size := int(self.rfile.readline(), 16):
                content += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return content
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        sent = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        for name, text in {**sent, **(headers or {})}.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body)
