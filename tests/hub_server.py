"""A Hub on 127.0.0.1, for tests: the part of its protocol that pushing and loading a model use.

Repositories are kept in memory, every file goes in the commit itself (no LFS, no xet), anyone may
read, and whoever has the token may write. Not for anything but tests.
"""

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

TOKEN = "hf_of_the_tests"
MODEL = r"/api/models/(?P<repo_id>[^/]+/[^/]+)"
ROUTES = {
    ("POST", r"/api/repos/create"): "create_repository",
    ("POST", r"/api/validate-yaml"): "validate_card",
    ("GET", rf"{MODEL}(/revision/(?P<revision>[^/]+))?"): "model_info",
    ("GET", rf"{MODEL}/refs"): "refs",
    ("GET", rf"{MODEL}/tree/(?P<revision>[^/]+)"): "tree",
    ("POST", rf"{MODEL}/branch/(?P<branch>[^/]+)"): "create_branch",
    ("POST", rf"{MODEL}/preupload/(?P<revision>[^/]+)"): "preupload",
    ("POST", rf"{MODEL}/commit/(?P<revision>[^/]+)"): "commit",
    ("GET", r"/(?P<repo_id>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)"): "resolve",
}


class Refusal(Exception):
    """An answer that isn't 200. `code` is the Hub's own name of the error."""

    def __init__(self, status: int, code: str = "", **content: str):
        self.status, self.code, self.content = status, code, {"error": code, **content}


@dataclass
class Repository:
    branches: dict[str, str] = field(default_factory=dict)  # name -> commit
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)  # commit -> path -> content

    def commit(self, branch: str, files: dict[str, bytes]) -> str:
        oid = hashlib.sha1(f"{len(self.commits)} {branch} {sorted(files)}".encode()).hexdigest()
        self.commits[oid] = files
        self.branches[branch] = oid
        return oid

    def resolve(self, revision: str) -> str:
        oid = self.branches.get(revision, revision)
        if oid not in self.commits:
            raise Refusal(404, "RevisionNotFound")
        return oid

    def files(self, revision: str = "main") -> dict[str, bytes]:
        return self.commits[self.resolve(revision)]


class HubServer(ThreadingHTTPServer):
    """`with HubServer() as hub:` serves at `hub.endpoint` until the block ends.

    `refuse_commits` maps the ids of repositories that take no commit to the status they answer.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.server_port}"
        self.repositories: dict[str, Repository] = {}
        self.refuse_commits: dict[str, int] = {}
        self.lock = Lock()

    def __enter__(self):
        Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *exception):
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HubServer

    def do_GET(self):
        self.oid = None  # of the commit that is answered from; one handler serves many requests
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        method = "GET" if self.command == "HEAD" else self.command
        path = urlsplit(self.path).path
        try:
            if method == "POST" and self.headers.get("Authorization") != f"Bearer {TOKEN}":
                raise Refusal(401)
            for (wanted, pattern), name in ROUTES.items():
                if wanted == method and (match := re.fullmatch(pattern, path)):
                    given: dict[str, Any] = {
                        key: unquote(value) for key, value in match.groupdict("main").items()
                    }
                    if "repo_id" in given:
                        given["repository"] = self.server.repositories.get(given["repo_id"])
                        if given["repository"] is None:
                            raise Refusal(404, "RepoNotFound")
                    with self.server.lock:
                        return self.answer(getattr(self, name)(**given))
            raise Refusal(404)
        except Refusal as refusal:
            return self.answer(refusal.content, refusal.status, {"X-Error-Code": refusal.code})

    do_HEAD = do_POST = do_GET

    def log_message(self, *args):
        """Silent."""

    def answer(self, content: dict | list | bytes, status: int = 200, headers: dict | None = None):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        headers = {**(headers or {}), "ETag": f'"{hashlib.sha1(data).hexdigest()}"'}
        if self.oid:
            headers["X-Repo-Commit"] = self.oid
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def create_repository(self):
        asked = json.loads(self.body)
        repo_id = f"{asked.get('organization') or 'owner'}/{asked['name']}"
        url = f"{self.server.endpoint}/{repo_id}"
        if repo_id in self.server.repositories:
            raise Refusal(409, url=url)
        self.server.repositories[repo_id] = Repository()
        self.server.repositories[repo_id].commit("main", {".gitattributes": b""})
        return {"url": url}

    def validate_card(self):
        _, front_matter, _ = json.loads(self.body)["content"].split("---\n", 2)
        try:
            found = yaml.safe_load(front_matter)
        except yaml.YAMLError as error:
            return {"errors": [{"message": str(error)}], "warnings": []}
        errors = [] if isinstance(found, dict) else [{"message": "no mapping"}]
        return {"errors": errors, "warnings": []}

    def model_info(self, repo_id, repository, revision):
        files = [{"rfilename": path} for path in repository.files(revision)]
        return {"id": repo_id, "sha": repository.resolve(revision), "siblings": files, "tags": []}

    def refs(self, repo_id, repository):
        branches = [
            {"name": name, "ref": f"refs/heads/{name}", "targetCommit": oid}
            for name, oid in repository.branches.items()
        ]
        return {"branches": branches, "converts": [], "tags": []}

    def tree(self, repo_id, repository, revision):
        return [
            {
                "type": "file",
                "path": path,
                "size": len(content),
                "oid": hashlib.sha1(content).hexdigest(),
            }
            for path, content in repository.files(revision).items()
        ]

    def create_branch(self, repo_id, repository, branch):
        if branch in repository.branches:
            raise Refusal(409)
        start = json.loads(self.body or b"{}").get("startingPoint", "main")
        repository.branches[branch] = repository.resolve(start)
        return {}

    def preupload(self, repo_id, repository, revision):
        repository.resolve(revision)
        paths = [file["path"] for file in json.loads(self.body)["files"]]
        return {
            "files": [
                {"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in paths
            ]
        }

    def commit(self, repo_id, repository, revision):
        """All operations, or none."""
        if repo_id in self.server.refuse_commits:
            raise Refusal(self.server.refuse_commits[repo_id])
        files = dict(repository.files(revision))
        for line in self.body.splitlines():
            operation = json.loads(line)
            key, value = operation["key"], operation["value"]
            if key == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif key == "deletedFile":
                if files.pop(value["path"], None) is None:
                    raise Refusal(404, "EntryNotFound")
            elif key != "header":
                raise Refusal(400)
        oid = repository.commit(revision, files)
        return {"commitUrl": f"{self.server.endpoint}/{repo_id}/commit/{oid}", "commitOid": oid}

    def resolve(self, repo_id, repository, revision, path):
        self.oid = repository.resolve(revision)
        if path not in repository.files(revision):
            raise Refusal(404, "EntryNotFound")
        return repository.files(revision)[path]
