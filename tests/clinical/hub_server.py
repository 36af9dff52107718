"""A Hub on 127.0.0.1 that speaks what huggingface_hub asks: repositories, files, byte ranges."""

import hashlib
import io
import json
import re
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from editgrpo.clinical.catalogue import CATALOGUE, ClinicalModel

_INFO = re.compile(r"/api/models/(?P<repository>[^/]+/[^/]+)/revision/(?P<revision>[^/?]+)")
_FILE = re.compile(r"/(?P<repository>[^/]+/[^/]+)/resolve/(?P<commit>[^/]+)/(?P<name>.+)")

_CDN = "/cdn"
_LFS = (".safetensors", ".bin", ".pth", ".gz")

BRANCH_COMMIT = "b" * 40
ENCODER = "microsoft/BiomedVLP-CXR-BERT-general"


@dataclass
class FakeHub:
    """What the server serves, what it was asked, and how it misbehaves."""

    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    commits: dict[str, str] = field(default_factory=dict)
    """Repository to the commit that any branch name stands for."""
    requests: list[str] = field(default_factory=list)
    ranges: dict[str, str] = field(default_factory=dict)
    """File name to the last `Range` that was asked."""
    stops: dict[str, int] = field(default_factory=dict)
    """File name to the bytes after which its transfer breaks off, once; then errors follow."""
    is_down: bool = False
    is_gated: bool = False
    stated: dict[str, str] = field(default_factory=dict)
    """File name to a false hash that is stated for it."""

    def add(self, repository: str, files: dict[str, bytes], commit: str = BRANCH_COMMIT) -> None:
        self.repositories.setdefault(repository, {}).update(files)
        self.commits[repository] = commit

    def add_model(self, model: ClinicalModel, files: dict[str, bytes]) -> None:
        """Serve the first part of a model at its pinned commit."""
        part = CATALOGUE[model].parts[0]
        self.add(part.repository, files, part.revision or BRANCH_COMMIT)

    def downloads(self) -> list[str]:
        return [path.rpartition("/")[2] for path in self.requests if "/resolve/" in path]


def model_files(seed: bytes = b"") -> dict[str, bytes]:
    """Files of a plain model folder, with things beside them that no fetch should take."""
    return {
        "config.json": b'{"hidden_size": 2}' + seed,
        "vocab.txt": b"[PAD]\nlung\n",
        "tokenizer_config.json": b"{}",
        "model.safetensors": b"weights" * 5000 + seed,
        "pytorch_model.bin": b"pickled",
        "modeling_custom.py": b"raise SystemExit",
        "README.md": b"# model",
        "onnx/model.safetensors": b"other",
    }


def radgraph_archive(encoder: str = ENCODER, **extra: bytes) -> bytes:
    """An archive whose configuration names an encoder."""
    config = {"model": {"embedder": {"token_embedders": {"bert": {"model_name": encoder}}}}}
    members = {"weights.th": b"w", "config.json": json.dumps(config).encode(), **extra}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@contextmanager
def serve(hub: object, handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Let a handler answer for a hub, which it has as `hub`; gives the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (handler,), {"hub": hub}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def served_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """Serve RaTE-NER's files to this process; the hashes that the catalogue pins are left out."""
    drop_pinned_hashes(monkeypatch)
    # huggingface_hub waits between attempts.
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)
    hub = FakeHub()
    hub.add_model(ClinicalModel.RATE_NER, model_files())
    with serve(hub, _Handler) as address:
        point_to(monkeypatch, address)
        yield hub


def drop_pinned_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    for model, entry in CATALOGUE.items():
        monkeypatch.setitem(CATALOGUE, model, replace(entry, sha256={}))


def point_to(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Let huggingface_hub, in this process, talk to an address."""
    from huggingface_hub import constants

    template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        path = self.path.removeprefix(_CDN)
        if path == self.path:
            self.hub.requests.append(path)
        info, file = _INFO.match(path), _FILE.match(path)
        if self.hub.is_down:
            self._answer(503, b"")
        elif self.hub.is_gated:
            self._answer(403, b"", {"X-Error-Code": "GatedRepo"})
        elif info is not None:
            self._send_info(info["repository"], info["revision"])
        elif file is not None and path == self.path and file["name"].endswith(_LFS):
            self._answer(302, b"", {"Location": _CDN + path})  # as the true Hub does
        elif file is not None:
            self._send_file(file["repository"], file["commit"], file["name"])

    def _send_info(self, repository: str, revision: str) -> None:
        if repository not in self.hub.repositories:
            self._answer(404, b"", {"X-Error-Code": "RepoNotFound"})
            return
        if revision not in ("main", self.hub.commits[repository]):
            self._answer(404, b"", {"X-Error-Code": "RevisionNotFound"})
            return
        siblings = []
        for name, content in self.hub.repositories[repository].items():
            blob = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
            blob = self.hub.stated.get(name, blob)
            entry = {"rfilename": name, "size": len(content), "blobId": blob}
            if name.endswith(_LFS):
                sha256 = hashlib.sha256(content).hexdigest()
                sha256 = self.hub.stated.get(name, sha256)
                entry["lfs"] = {"size": len(content), "sha256": sha256, "pointerSize": 130}
            siblings.append(entry)
        body = {"id": repository, "sha": self.hub.commits[repository], "siblings": siblings}
        self._answer(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def _send_file(self, repository: str, commit: str, name: str) -> None:
        content = self.hub.repositories.get(repository, {}).get(name)
        if content is None or commit != self.hub.commits[repository]:
            self._answer(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        begin, asked = 0, self.headers.get("Range")
        if asked is not None:
            self.hub.ranges[name] = asked
            begin = int(asked.removeprefix("bytes=").partition("-")[0])
        stop = self.hub.stops.pop(name, None)
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(content) - begin))
        if asked:
            last = len(content) - 1
            self.send_header("Content-Range", f"bytes {begin}-{last}/{len(content)}")
        self.end_headers()
        self.wfile.write(content[begin:stop])
        if stop is not None:
            self.hub.is_down = True
            self.close_connection = True

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
