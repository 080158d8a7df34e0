"""The parties of the story as HTTP clients: the merchant's backend, the acquirer, the operator's browser."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass, field
from http.cookiejar import CookieJar
from typing import Any
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, OpenerDirector, Request, build_opener

import urllib3

from zentra.core.ids import parse_public_id

_POOL = urllib3.PoolManager(maxsize=8, retries=False)


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: Any
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def data(self) -> Any:
        return self.json["data"]


@dataclass(frozen=True, slots=True)
class ApiClient:
    """The merchant's backend."""

    base_url: str
    api_key: str

    def get(self, path: str) -> Reply:
        return self._send("GET", path)

    def post(self, path: str, body: dict[str, Any], *, key: str = "") -> Reply:
        return self._send("POST", path, json.dumps(body).encode(), {"Idempotency-Key": key or uuid.uuid4().hex})

    def upload(self, path: str, content: bytes, **query: str) -> Reply:
        return self._send("POST", f"{path}?{urlencode(query)}", content, {"Content-Type": "text/csv"})

    def _send(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Reply:
        sent = {"Authorization": f"Bearer {self.api_key}", "Content-Type": "application/json", **(headers or {})}
        answer = _POOL.request(method, f"{self.base_url}/api/v1/{path}", body=body, headers=sent, timeout=20)
        return Reply(answer.status, answer.headers, answer.data)


@dataclass(frozen=True, slots=True)
class AcquirerClient:
    """What the acquirer knows, and what it is told to do."""

    url: str
    secret: str

    def get(self, path: str) -> Any:
        return self._send("GET", path).json

    def file(self, batch_id: str) -> bytes:
        return self._send("GET", f"/v1/settlement/batches/{batch_id}/file").content

    def control(self, name: str, **body: Any) -> Any:
        return self._send("POST", f"/_control/{name}", json.dumps(body).encode()).json

    def _send(self, method: str, path: str, body: bytes = b"") -> Reply:
        headers = {"Authorization": f"Bearer {self.secret}", "Content-Type": "application/json"}
        answer = _POOL.request(method, self.url + path, body=body or None, headers=headers, timeout=20)
        return Reply(answer.status, answer.headers, answer.data)


@dataclass
class AdminBrowser:
    """An operator at the admin: logs in, reads pages, submits forms."""

    base_url: str
    opener: OpenerDirector = field(default_factory=lambda: build_opener(HTTPCookieProcessor(CookieJar())))

    def log_in(self, username: str, password: str) -> None:
        self.submit("/admin/login/", username=username, password=password, next="/admin/")

    def accept_batch(self, batch_id: str, note: str) -> None:
        """Accept a batch whose declared total is not the sum of its lines."""
        page = f"/admin/settlement/settlementbatch/{parse_public_id('btc', batch_id)}"
        self.submit(f"{page}/change/", f"{page}/accept/", note=note)

    def take_case(self, case_id: str) -> None:
        page = self._case_page(case_id)
        self.submit(f"{page}/change/", f"{page}/take/")

    def close_case(self, case_id: str, resolution: str, note: str) -> None:
        """Close an owned case, past the page that shows the journal before it is booked."""
        page = self._case_page(case_id)
        fields = {"resolution": resolution, "note": note}
        self.submit(f"{page}/change/", f"{page}/close/", **fields)
        self.submit(f"{page}/change/", f"{page}/close/", **fields, confirmed="1")

    def submit(self, form_page: str, target: str = "", **fields: str) -> str:
        """Load a page for its CSRF token, post the fields to the target, and return the page that follows."""
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', self._read(form_page))
        if token is None:
            raise LookupError(f"no form on {form_page}")
        body = urlencode({**fields, "csrfmiddlewaretoken": token.group(1)}).encode()
        url = self.base_url + (target or form_page)
        request = Request(url, data=body, headers={"Referer": self.base_url + form_page})  # noqa: S310
        with self.opener.open(request, timeout=20) as answer:
            return answer.read().decode()

    def _read(self, path: str) -> str:
        with self.opener.open(self.base_url + path, timeout=20) as answer:
            return answer.read().decode()

    @staticmethod
    def _case_page(case_id: str) -> str:
        return f"/admin/settlement/driftcase/{parse_public_id('cas', case_id)}"
