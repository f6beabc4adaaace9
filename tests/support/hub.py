"""A Hugging Face Hub on the loopback, in memory, for the real huggingface_hub client: a library for tests.

    with HubServer() as hub:
        hub.endpoint, hub.token                    for HF_ENDPOINT and HF_TOKEN
        hub.commit("you/x", {"README.md": b"..."}) someone else's commit
        hub.fail("GET .*/refs", status=503)        what goes wrong, by request
        hub.stop(); hub.start()                    an outage

It speaks models and spaces: create, preupload, regular and LFS uploads, commits with a parent, tags, branches, refs,
listing by author and tag with pages, info, tree with pages, download with ranges; 401, 403, 404, 409, 412.
"""

import base64
import gzip
import hashlib
import json
import os
import re
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

os.environ["HF_HUB_DISABLE_XET"] = "1"  # this server speaks LFS
import huggingface_hub.constants

huggingface_hub.constants.HF_HUB_DISABLE_XET = True  # it may have been imported before

MAX_BODY = 2**28
LFS_NAMES = re.compile(r".*\.(h5|jpg|png)")


@dataclass
class Repo:
    """Commits by sha, {path: content} each, and what points to them; gated, the token's owner may be granted access."""

    private: bool = False
    gated: bool = False
    granted: bool = True
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    titles: list[str] = field(default_factory=list)

    def add(self, files: dict[str, bytes], title: str, branch: str = "main") -> str:
        seed = f"{len(self.commits)} {title} {sorted(files)} {time.time_ns()}"
        sha = hashlib.sha1(seed.encode()).hexdigest()
        self.commits[sha] = files
        self.branches[branch] = sha
        self.titles.append(title)
        return sha

    def find(self, revision: str) -> str | None:
        return self.branches.get(revision) or self.tags.get(revision) or (revision if revision in self.commits else None)

    @property
    def card_tags(self) -> list[str]:
        text = self.commits[self.branches["main"]].get("README.md", b"").decode("utf-8", "replace")
        front = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
        try:
            values = (yaml.safe_load(front[1]) if front else None) or {}
        except yaml.YAMLError:
            values = {}
        return [tag for tag in values.get("tags") or [] if isinstance(tag, str)]


@dataclass
class Fault:
    """What happens to (every so many) requests that match: an error, though all may be done, silence, a body cut or slow."""

    pattern: re.Pattern
    status: int = 0
    silence: float = 0.0
    over: threading.Event = field(default_factory=threading.Event)
    """Ends a silence before its seconds."""
    cut: int | None = None
    drip: float = 0.0
    body: bytes | None = None
    die: bool = False
    done: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    every: int = 1
    times: int = 10**9
    seen: int = 0

    def strikes(self, line: str) -> bool:
        """Whether this request goes wrong."""
        if self.times <= 0 or not self.pattern.fullmatch(line):
            return False
        self.seen += 1
        if self.seen % self.every:
            return False
        self.times -= 1
        return True


class HubServer:
    """The server; `requests` holds "METHOD /path?query" of all requests so far, `tokens` the tokens they carried."""

    def __init__(self, user: str = "you", page: int = 1000):
        self.user, self.page = user, page
        self.token = "hf_loopback_secret_0123456789"
        self.repos: dict[tuple[str, str], Repo] = {}
        self.lfs: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.tokens: set[str] = set()
        self.faults: list[Fault] = []
        self.lock = threading.RLock()
        self._port = 0
        self._server: ThreadingHTTPServer | None = None

    def __enter__(self) -> "HubServer":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> "HubServer":
        hub = self

        class Bound(_Handler):
            server_hub = hub

        ThreadingHTTPServer.allow_reuse_address = True
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Bound)
        self._server.daemon_threads = True
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def stop(self) -> None:
        """Goes away as a machine does that is switched off; `start` comes back at the same port, with all repos."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        huggingface_hub.close_session()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def environment(self, **extra: str) -> dict[str, str]:
        """Environment of another process that uses this Hub, with a token."""
        own = {"HF_ENDPOINT": self.endpoint, "HF_TOKEN": self.token, "HF_HUB_DISABLE_XET": "1"}
        return os.environ | own | extra

    def repo(self, name: str, kind: str = "model") -> Repo:
        return self.repos[kind, name]

    def create(self, name: str, kind: str = "model", **options: bool) -> Repo:
        repo = self.repos[kind, name] = Repo(**options)
        repo.add({".gitattributes": b"*.h5 filter=lfs\n"}, "initial commit")
        return repo

    def commit(self, name: str, files: dict[str, bytes | None], tag: str = "", kind: str = "model") -> str:
        """A commit on main by somebody; None removes a file."""
        repo = self.repos.get((kind, name)) or self.create(name, kind)
        now = {**repo.commits[repo.branches["main"]], **files}
        sha = repo.add({path: content for path, content in now.items() if content is not None}, "by hand")
        if tag:
            repo.tags[tag] = sha
        return sha

    def fail(self, pattern: str, **what: Any) -> Fault:
        """From now on requests "METHOD /path" that match go wrong, see `Fault`."""
        fault = Fault(re.compile(pattern), **what)
        self.faults.append(fault)
        return fault


class _Refused(Exception):
    def __init__(self, status: int, code: str = "", message: str = "", **values: Any):
        self.status, self.code, self.message, self.values = status, code, message, values


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # header and body are two writes, which would wait 40 ms for each other
    server_hub: HubServer

    def log_message(self, *_: object) -> None:
        """Tests print nothing."""

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def _answer(self) -> None:
        hub = self.server_hub
        if hub._server is None:  # stopped, but this connection was still open
            self.close_connection = True
            return None
        url = urlsplit(self.path)
        self.query = parse_qs(url.query)
        size = int(self.headers.get("Content-Length") or 0)
        if size > MAX_BODY:
            self.close_connection = True
            return self._send(413, b"too large")
        self.content = self.rfile.read(size)
        if self.headers.get("Content-Encoding") == "gzip":
            self.content = gzip.decompress(self.content)
        line = f"{self.command} {url.path}"
        bearer = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        with hub.lock:
            hub.requests.append(f"{self.command} {self.path}")
            if bearer:
                hub.tokens.add(bearer)
            fault = next((fault for fault in hub.faults if fault.strikes(line)), None)
        self.fault, self.known = fault, bearer == hub.token
        if fault and fault.silence:
            fault.over.wait(fault.silence)
        if fault and fault.status:
            if fault.done:
                with hub.lock:
                    self._route(url.path)
            return self._send(fault.status, fault.body or b'{"error": "as asked"}', fault.headers)
        try:
            with hub.lock:
                answer = self._route(url.path)
            if fault and fault.die:  # the request was done, the answer is lost
                self.close_connection = True
                return None
            return self._send(answer[2], *answer[:2]) if isinstance(answer, tuple) else self._json(200, answer)
        except _Refused as refused:
            headers = {"X-Error-Code": refused.code} if refused.code else {}
            return self._json(refused.status, {"error": refused.message or refused.code, **refused.values}, headers)

    def _json(self, status: int, values: Any, headers: dict[str, str] | None = None) -> None:
        if isinstance(values, _Page):
            values, headers = values.values, values.headers
        self._send(status, json.dumps(values).encode(), {"Content-Type": "application/json", **(headers or {})})

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        fault = self.fault if hasattr(self, "fault") else None
        if fault and fault.body is not None:
            body = fault.body
        try:
            self.send_response(status)
            for key, value in (headers or {}).items():
                self.send_header(key, value)
            if "Content-Length" not in (headers or {}):
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "HEAD":
                return
            if fault and fault.cut is not None:
                self.wfile.write(body[: fault.cut])
                self.close_connection = True
            elif fault and fault.drip:
                for start in range(0, len(body), 16):
                    self.wfile.write(body[start : start + 16])
                    self.wfile.flush()
                    time.sleep(fault.drip)
            else:
                self.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    # --- what is asked ----------------------------------------------------------------------------------------------

    def _route(self, path: str) -> Any:
        parts = [unquote(part) for part in path.strip("/").split("/")]
        if path == "/api/repos/create":
            return self._create()
        if path == "/api/validate-yaml":
            return {"errors": [], "warnings": []}
        if path == "/api/whoami-v2":
            self._must_write(self.server_hub.user)
            return {"name": self.server_hub.user, "type": "user", "orgs": []}
        if parts[0] == "api" and parts[1] in ("models", "spaces"):
            return self._api(parts[1][:-1], parts[2:])
        if parts[0] == "lfs":
            return self._lfs(parts[1:])
        kind = "space" if parts[0] == "spaces" else "model"
        parts = parts[1:] if kind == "space" else parts
        if len(parts) >= 5 and parts[2] == "resolve":
            return self._download(kind, "/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        if parts[2:] == ["info", "lfs", "objects", "batch"]:
            return self._batch(kind, f"{parts[0]}/{parts[1].removesuffix('.git')}")
        raise _Refused(404, message="no such address")

    def _find(self, kind: str, name: str) -> Repo:
        repo = self.server_hub.repos.get((kind, name))
        if repo is None or (repo.private and not self.known):
            raise _Refused(404 if self.known else 401, "RepoNotFound", "Repository not found")
        return repo

    def _must_write(self, namespace: str) -> None:
        if not self.known:
            raise _Refused(401, message="Invalid username or password.")
        if namespace != self.server_hub.user:
            raise _Refused(403, message=f"You don't have the rights to write under {namespace}")

    def _create(self) -> Any:
        values = json.loads(self.content)
        namespace = values.get("organization") or self.server_hub.user
        self._must_write(namespace)
        kind, name = values.get("type") or "model", f"{namespace}/{values['name']}"
        url = f"{self.server_hub.endpoint}/{'spaces/' if kind == 'space' else ''}{name}"
        if (kind, name) in self.server_hub.repos:
            raise _Refused(409, message="You already created this repo", url=url)
        private = values.get("private") or values.get("visibility") == "private"
        self.server_hub.create(name, kind, private=bool(private))
        return {"url": url, "name": name}

    def _api(self, kind: str, parts: list[str]) -> Any:
        if not parts:
            return self._list(kind)
        name, rest = "/".join(parts[:2]), parts[2:]
        repo = self._find(kind, name)
        if self.command != "GET":
            self._must_write(parts[0])
        match [self.command, *rest]:
            case ["GET"]:
                return self._info(name, repo, "main")
            case ["GET", "revision", revision]:
                return self._info(name, repo, revision)
            case ["GET", "refs"]:
                kinds = {"branches": ("heads", repo.branches), "tags": ("tags", repo.tags)}
                return {"converts": []} | {
                    key: [{"name": n, "ref": f"refs/{place}/{n}", "targetCommit": sha} for n, sha in refs.items()]
                    for key, (place, refs) in kinds.items()
                }
            case ["GET", "tree", revision, *_]:
                return self._tree(repo, revision)
            case ["POST", "preupload", revision]:
                files = repo.commits[self._sha(repo, revision)]
                return {
                    "files": [
                        {
                            "path": file["path"],
                            "uploadMode": "lfs" if LFS_NAMES.fullmatch(file["path"]) else "regular",
                            "shouldIgnore": False,
                            "oid": _etag(files[file["path"]], file["path"]) if file["path"] in files else None,
                        }
                        for file in json.loads(self.content)["files"]
                    ]
                }
            case ["POST", "commit", branch]:
                return self._commit(name, repo, branch)
            case ["POST", "tag", revision]:
                tag = json.loads(self.content)["tag"]
                if tag in repo.tags:
                    raise _Refused(409, message=f"Tag {tag} already exists")
                repo.tags[tag] = self._sha(repo, revision)
                return {}
            case ["POST", "branch", branch]:
                if branch in repo.branches:
                    raise _Refused(409, message="Reference already exists")
                repo.branches[branch] = self._sha(repo, json.loads(self.content or b"{}").get("startingPoint") or "main")
                return {}
            case ["DELETE", "tag", tag]:
                if repo.tags.pop(tag, None) is None:
                    raise _Refused(404, "RevisionNotFound")
                return {}
        raise _Refused(404, message="no such address")

    def _sha(self, repo: Repo, revision: str) -> str:
        sha = repo.find(revision)
        if sha is None:
            raise _Refused(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return sha

    def _list(self, kind: str) -> Any:
        author, tags = self.query.get("author", [""])[0], self.query.get("filter", [])
        found = [
            {"id": name, "sha": repo.branches["main"], "tags": repo.card_tags, "private": repo.private}
            for (own, name), repo in sorted(self.server_hub.repos.items())
            if own == kind and (not author or name.startswith(author + "/")) and (self.known or not repo.private)
        ]
        return self._page([repo for repo in found if set(tags) <= set(repo["tags"])])  # type: ignore[arg-type]

    def _page(self, values: list[Any]) -> Any:
        start, limit = int(self.query.get("cursor", ["0"])[0]), int(self.query.get("limit", ["1000"])[0])
        size = min(self.server_hub.page, limit)
        headers = {}
        if start + size < len(values):
            address = re.sub(r"[?&]cursor=\d+", "", self.path)
            address += ("&" if "?" in address else "?") + f"cursor={start + size}"
            headers["Link"] = f'<{self.server_hub.endpoint}{address}>; rel="next"'
        return _Page(values[start : start + size], headers)

    def _info(self, name: str, repo: Repo, revision: str) -> Any:
        sha = self._sha(repo, revision)
        siblings = [{"rfilename": path} for path in repo.commits[sha]]
        return {"id": name, "sha": sha, "tags": repo.card_tags, "private": repo.private, "siblings": siblings}

    def _tree(self, repo: Repo, revision: str) -> Any:
        entries = []
        for path, content in sorted(repo.commits[self._sha(repo, revision)].items()):
            entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": _oid(content, path)}
            if LFS_NAMES.fullmatch(path):
                sha = hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"oid": sha, "size": len(content), "pointerSize": 130}
            entries.append(entry)
        return self._page(entries)

    def _commit(self, name: str, repo: Repo, branch: str) -> Any:
        if branch not in repo.branches:
            raise _Refused(404, "RevisionNotFound", f"Invalid rev id: {branch}")
        files, title = dict(repo.commits[repo.branches[branch]]), ""
        for line in self.content.splitlines():
            item = json.loads(line)
            value = item["value"]
            match item["key"]:
                case "header":
                    title = value["summary"]
                    if value.get("parentCommit", repo.branches[branch]) != repo.branches[branch]:
                        raise _Refused(412, message="A commit has happened since. Please refresh and try again.")
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    content = self.server_hub.lfs.get(value["oid"])
                    if content is None or len(content) != value["size"]:
                        raise _Refused(400, message=f"LFS pointer of {value['path']} points to nothing")
                    files[value["path"]] = content
                case "deletedFile":
                    if files.pop(value["path"], None) is None:
                        raise _Refused(404, "EntryNotFound", "A file with this name doesn't exist")
                case "deletedFolder":
                    files = {path: content for path, content in files.items() if not path.startswith(value["path"])}
        sha = repo.add(files, title, branch)
        return {"commitOid": sha, "commitUrl": f"{self.server_hub.endpoint}/{name}/commit/{sha}", "success": True}

    # --- files ------------------------------------------------------------------------------------------------------

    def _batch(self, kind: str, name: str) -> Any:
        self._find(kind, name)
        self._must_write(name.split("/")[0])
        objects = []
        for item in json.loads(self.content)["objects"]:
            entry = {"oid": item["oid"], "size": item["size"], "authenticated": True}
            if item["oid"] not in self.server_hub.lfs:
                href = f"{self.server_hub.endpoint}/lfs/{item['oid']}"
                entry["actions"] = {"upload": {"href": href}, "verify": {"href": f"{href}/verify"}}
            objects.append(entry)
        return {"transfer": "basic", "objects": objects}

    def _lfs(self, parts: list[str]) -> Any:
        if self.command == "PUT":
            if hashlib.sha256(self.content).hexdigest() != parts[0]:
                raise _Refused(400, message="not the content it says")
            self.server_hub.lfs[parts[0]] = self.content
            return {}
        if parts[1:] == ["verify"] and parts[0] in self.server_hub.lfs:
            return {}
        raise _Refused(404)

    def _download(self, kind: str, name: str, revision: str, path: str) -> Any:
        repo = self._find(kind, name)
        if repo.gated and not self.known:
            raise _Refused(401, "GatedRepo", "Access to this repo is restricted")
        if repo.gated and not repo.granted:
            raise _Refused(403, "GatedRepo", "Access to this repo is restricted and you are not in the authorized list")
        sha = self._sha(repo, revision)
        if path not in repo.commits[sha]:
            raise _Refused(404, "EntryNotFound", "Entry not found")
        content = repo.commits[sha][path]
        headers = {"X-Repo-Commit": sha, "ETag": f'"{_etag(content, path)}"', "Accept-Ranges": "bytes"}
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        if wanted:
            content = content[int(wanted[1]) :]
        return content, {**headers, "Content-Length": str(len(content))}, 206 if wanted else 200


@dataclass
class _Page:
    values: list[Any]
    headers: dict[str, str]


def _etag(content: bytes, path: str) -> str:
    return hashlib.sha256(content).hexdigest() if LFS_NAMES.fullmatch(path) else _oid(content, path)


def _oid(content: bytes, path: str) -> str:
    """What git calls the file: a blob's sha1, of the pointer for LFS."""
    if LFS_NAMES.fullmatch(path):
        sha = hashlib.sha256(content).hexdigest()
        content = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha}\nsize {len(content)}\n".encode()
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
