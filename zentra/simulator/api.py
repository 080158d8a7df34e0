"""
The routes of one acquirer: authenticate, find the rule, run it in one transaction, keep its answer.

This is where idempotency lives. The first answer to a key is stored in the transaction of its operation, so one
key can never have made two operations, and every repeat gets the first answer's bytes.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs

import structlog

from zentra.simulator import settlement
from zentra.simulator.acquirer import Acquirer
from zentra.simulator.callbacks import CallbackQueue
from zentra.simulator.challenge import challenge_page, decided
from zentra.simulator.clock import SimulatorClock
from zentra.simulator.config import AcquirerConfig
from zentra.simulator.control import Control
from zentra.simulator.store import Store, StoreBusyError, StoredAnswer, Transaction
from zentra.simulator.wire import Answer, Fields, Request, RequestRefusedError, error_answer, json_answer

log = structlog.get_logger(__name__)

IDEMPOTENCY_KEY = re.compile(r"[!-~]{1,64}")
MAX_BATCHES_LISTED = 100

Rule = Callable[[Transaction, Fields, str], Answer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One route: ``name`` is what ``GET /_control/counters`` counts it under."""

    method: str
    pattern: re.Pattern[str]
    name: str
    handle: Callable[[Request, str], Answer]
    public: bool = False


class AcquirerApi:
    """Everything one acquirer answers, without sockets."""

    def __init__(self, config: AcquirerConfig, state_dir: Path, *, public_url: Callable[[], str]) -> None:
        self.name = config.name
        self.store = Store(state_dir / f"{config.name}.sqlite3")
        self.clock = SimulatorClock()
        self.callbacks = CallbackQueue(acquirer=config.name, store=self.store, clock=self.clock, target=config.callback)
        self.acquirer = Acquirer(
            name=config.name, clock=self.clock, public_url=public_url, queue_callback=self.callbacks.queue
        )
        self.calls: Counter[str] = Counter()
        self.control = Control(self, callback_secret=config.callback_secret)
        self._secret = config.secret.encode()
        self._counting = threading.Lock()
        self._routes = self._build_routes()
        self.control.restore()

    def answer(self, request: Request) -> Answer:
        """Return the answer to a request; whatever it recorded is committed."""
        try:
            route, target = self._find(request)
            self._count(route.name)
            if not route.public:
                self._authenticate(request)
            return route.handle(request, target)
        except RequestRefusedError as refusal:
            return refusal.answer()
        except StoreBusyError:
            return error_answer(503, "acquirer_busy", "Another request holds the books; try again.")
        except Exception:
            log.exception("request_failed", acquirer=self.name, path=request.path)
            return error_answer(500, "internal_error", "The simulator failed; see its log.")

    def close(self) -> None:
        """Stop the callbacks and close the books."""
        self.callbacks.stop()
        self.store.close()

    # -- routes

    def _build_routes(self) -> tuple[Route, ...]:
        rules = self.acquirer
        keyed: list[tuple[str, str, Rule]] = [
            ("/v1/authorizations", "authorizations", lambda tx, fields, _: rules.authorize(tx, fields)),
            ("/v1/authorizations/{id}/captures", "captures", rules.capture),
            ("/v1/authorizations/{id}/void", "voids", rules.void),
            ("/v1/voids", "voids_by_reference", lambda tx, fields, _: rules.void_by_reference(tx, fields)),
            ("/v1/refunds", "refunds", lambda tx, fields, _: rules.refund(tx, fields)),
        ]
        routes = [_route("POST", path, name, self._keyed(rule)) for path, name, rule in keyed]
        routes += [
            _route("GET", "/v1/operations", "operations_query", self._operations),
            _route("GET", "/v1/operations/{id}", "operations_get", self._operation),
            _route("GET", "/v1/balances", "balances", self._balances),
            _route("GET", "/v1/settlement/batches", "batches", self._batches),
            _route("GET", "/v1/settlement/batches/{id}/file", "batch_files", self._batch_file),
            _route("GET", "/challenge/{id}", "challenges", self._show_challenge, public=True),
            _route("POST", "/challenge/{id}", "challenge_decisions", self._decide_challenge, public=True),
            _route("GET", "/healthz", "health", self._health, public=True),
        ]
        for method, name, handle in self.control.actions():
            routes.append(_route(method, f"/_control/{name}", f"control_{name}", handle))
        return tuple(routes)

    def _find(self, request: Request) -> tuple[Route, str]:
        other_method = False
        for route in self._routes:
            found = route.pattern.fullmatch(request.path)
            if found and route.method == request.method:
                return route, found.groupdict().get("id", "")
            other_method = other_method or bool(found)
        if other_method:
            raise RequestRefusedError(405, "method_not_allowed", f"{request.method} is not possible here.")
        raise RequestRefusedError(404, "route_not_found", "There is no such address.")

    def _authenticate(self, request: Request) -> None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        # Compared as bytes, in constant time; the header may hold anything.
        right = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), self._secret)
        if scheme.lower() != "bearer" or not right:
            raise RequestRefusedError(401, "unauthorized", "The bearer secret is missing or wrong.")

    def _count(self, name: str) -> None:
        with self._counting:
            self.calls[name] += 1

    # -- keyed operations

    def _keyed(self, rule: Rule) -> Callable[[Request, str], Answer]:
        def handle(request: Request, target: str) -> Answer:
            key = request.headers.get("idempotency-key", "")
            if not IDEMPOTENCY_KEY.fullmatch(key):
                raise RequestRefusedError(
                    400, "idempotency_key_required", "Idempotency-Key must be 1 to 64 printable ASCII characters."
                )
            fields = Fields.parse(request.body)
            spelled = f"{request.method} {request.path}\n".encode() + fields.canonical()
            try:
                answer = self._run_once(key, hashlib.sha256(spelled).digest(), fields, target, rule)
            except StoreBusyError:
                return error_answer(409, "request_in_progress", "A request before this one is still in progress.")
            self.callbacks.wake()
            return answer

        return handle

    def _run_once(self, key: str, fingerprint: bytes, fields: Fields, target: str, rule: Rule) -> Answer:
        """Run the rule for a key that is new, or return the stored first answer, in one transaction."""
        with self.store.transaction() as tx:
            stored = tx.stored_answer(key)
            if stored is None:
                answer = _refusals_answered(rule, tx, fields, target)
                if answer.keep:
                    tx.keep_answer(
                        key,
                        StoredAnswer(
                            fingerprint=fingerprint,
                            status=answer.status,
                            content_type=answer.content_type,
                            body=answer.body,
                        ),
                    )
                return answer
        if stored.fingerprint != fingerprint:
            return error_answer(422, "idempotency_key_reused", "The key came with a different request before.")
        self._count("replays")
        return Answer(
            status=stored.status,
            body=stored.body,
            content_type=stored.content_type,
            headers=(("Idempotent-Replay", "true"),),
        )

    # -- reads

    def _operations(self, request: Request, _: str) -> Answer:
        with self.store.transaction() as tx:
            return self.acquirer.operations(tx, request.query.get("reference", ""))

    def _operation(self, _: Request, target: str) -> Answer:
        with self.store.transaction() as tx:
            return self.acquirer.operation(tx, target)

    def _balances(self, _request: Request, _: str) -> Answer:
        with self.store.transaction() as tx:
            return self.acquirer.balances(tx)

    def _batches(self, _request: Request, _: str) -> Answer:
        with self.store.transaction() as tx:
            batches = settlement.list_batches(tx, limit=MAX_BATCHES_LISTED)
        return json_answer(200, {"batches": [batch.document() for batch in batches]})

    def _batch_file(self, _: Request, target: str) -> Answer:
        with self.store.transaction() as tx:
            file = settlement.batch_file(tx, target)
        name = ("Content-Disposition", f'attachment; filename="{target}.csv"')
        return Answer(status=200, body=file, content_type="text/csv; charset=utf-8", headers=(name,))

    def _health(self, _request: Request, _: str) -> Answer:
        return json_answer(200, {"status": "ok", "acquirer": self.name})

    # -- the customer's challenge

    def _show_challenge(self, _: Request, target: str) -> Answer:
        with self.store.transaction() as tx:
            return challenge_page(self.acquirer.authorization(tx, target))

    def _decide_challenge(self, request: Request, target: str) -> Answer:
        decision = parse_qs(request.body.decode("latin-1"), max_num_fields=10).get("decision", [""])[0]
        if decision not in ("approve", "decline"):
            raise RequestRefusedError(400, "invalid_field", "decision must be approve or decline")
        with self.store.transaction() as tx:
            authorization = self.acquirer.decide_challenge(tx, target, approve=decision == "approve")
            if authorization is None:
                return challenge_page(self.acquirer.authorization(tx, target), status=409)
        self.callbacks.wake()
        return decided(authorization)


def _route(
    method: str, path: str, name: str, handle: Callable[[Request, str], Answer], *, public: bool = False
) -> Route:
    pattern = re.compile(re.escape(path).replace(r"\{id\}", "(?P<id>[A-Za-z0-9_]{1,100})"))
    return Route(method=method, pattern=pattern, name=name, handle=handle, public=public)


def _refusals_answered(rule: Rule, tx: Transaction, fields: Fields, target: str) -> Answer:
    """Run a rule; a refusal is an answer like any other, kept under the key."""
    try:
        return rule(tx, fields, target)
    except RequestRefusedError as refusal:
        return refusal.answer()
    except sqlite3.IntegrityError:
        # A CHECK of the schema refused what a rule let pass: undo everything and say so in the log.
        log.error("operation_refused_by_schema")
        raise
