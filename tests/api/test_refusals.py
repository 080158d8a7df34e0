"""Acceptance 7: what is wrong with a request is said in the catalogue's words, and nothing is written."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.api.refusals import require_typed
from tests.factories.shop import Shop
from tests.factories.tenancy import OPERATOR
from tests.rows import everything_stored, row_counts
from zentra.core.clock import SYSTEM_CLOCK
from zentra.tenancy import services
from zentra.tenancy.keys import generate_key
from zentra.tenancy.models import ApiKey
from zentra.tenancy.types import Environment, KeyKind, Scope

GOOD = {"amount_minor": 1000, "currency": "EUR"}
MAX = 2**53 - 1

#: The key's text, and the refusal.
KEYS: dict[str, tuple[str | None, str]] = {
    "none": (None, "unauthorized"),
    "another scheme": ("Basic c2s6eA==", "unauthorized"),
    "nothing behind the scheme": ("Bearer ", "unauthorized"),
    "no key at all": ("Bearer nonsense", "invalid_api_key"),
    "a mistyped key": ("Bearer {mistyped}", "invalid_api_key"),
    "a key too long to be one": ("Bearer sk_sandbox_" + "a" * 5000, "invalid_api_key"),
    "characters that no key has": ("Bearer sk_sandbox_é", "invalid_api_key"),
    "a key that was never given out": ("Bearer {unknown}", "invalid_api_key"),
    "the right public part under another secret": ("Bearer {forged}", "invalid_api_key"),
    "a key of the other environment": ("Bearer {live}", "wrong_environment"),
    "a revoked key": ("Bearer {revoked}", "expired_api_key"),
    "an expired key": ("Bearer {expired}", "expired_api_key"),
}


def key_texts(shop: Shop) -> dict[str, str]:
    """Keys that must not open the shop's workspace."""
    good = shop.tenant.secret_key
    flipped = "A" if good[-10] != "A" else "B"
    forged = generate_key(KeyKind.SECRET, Environment.SANDBOX)
    ApiKey.objects.create(
        workspace=shop.tenant.workspace, name="x", kind="sk", public=forged.public, digest=b"\0" * 32, last4="xxxx"
    )
    return {
        "mistyped": good[:-10] + flipped + good[-9:],
        "unknown": generate_key(KeyKind.SECRET, Environment.SANDBOX).text,
        "forged": forged.text,
        "live": generate_key(KeyKind.SECRET, Environment.LIVE).text,
        "revoked": _ended(shop, "revoked_at"),
        "expired": _ended(shop, "expires_at"),
    }


def _ended(shop: Shop, how: str) -> str:
    new = services.create_api_key(workspace=shop.tenant.workspace, name=how, kind=KeyKind.SECRET, actor=OPERATOR)
    if how == "revoked_at":
        services.revoke_api_key(key_id=new.key.id, clock=SYSTEM_CLOCK)
    else:
        ApiKey.objects.filter(id=new.key.id).update(expires_at=datetime.now(UTC) - timedelta(seconds=1))
    return new.text.text


class TestAKey:
    @pytest.mark.parametrize("what", KEYS)
    def test_that_opens_nothing_is_401_and_writes_nothing(self, shop: Shop, what: str):
        form, code = KEYS[what]
        texts = key_texts(shop)
        shop.tenant = replace(shop.tenant, secret_key="")
        headers = {} if form is None else {"Authorization": form.format(**texts)}
        before = everything_stored()

        reply = _anonymous(shop, headers)

        require_typed(reply, 401, code)
        assert reply.headers["WWW-Authenticate"].startswith("Bearer")
        assert everything_stored() == before

    def test_is_named_in_no_answer(self, shop: Shop):
        secret = shop.tenant.secret_key

        shop.tenant = replace(shop.tenant, secret_key=secret[:-1] + ("A" if secret[-1] != "A" else "B"))
        reply = shop.pay()

        assert reply.status == 401
        assert secret[11:30].encode() not in reply.content

    def test_without_the_scope_is_403_and_writes_nothing(self, shop: Shop):
        new = services.create_api_key(
            workspace=shop.tenant.workspace,
            name="reads",
            kind=KeyKind.SECRET,
            actor=OPERATOR,
            scopes=[Scope.PAYMENTS_READ],
        )
        shop.tenant = replace(shop.tenant, secret_key=new.text.text)
        before = everything_stored()

        reply = shop.pay()

        require_typed(reply, 403, "insufficient_permissions")
        assert reply.error["details"] == {"required_scope": "payments:write"}
        assert everything_stored() == before
        assert shop.get("payments").status == 200

    def test_that_is_public_may_not_touch_payments(self, shop: Shop):
        new = services.create_api_key(
            workspace=shop.tenant.workspace, name="browser", kind=KeyKind.PUBLIC, actor=OPERATOR
        )
        shop.tenant = replace(shop.tenant, secret_key=new.text.text)
        before = everything_stored()

        require_typed(shop.pay(), 403, "insufficient_permissions")
        require_typed(shop.get("payments"), 403, "insufficient_permissions")
        assert everything_stored() == before


def _anonymous(shop: Shop, headers: dict[str, str]) -> Any:
    """A call with these headers alone."""

    class Bare:
        headers: dict[str, str] = {}

    bare = Shop(tenant=Bare())  # type: ignore[arg-type]
    return bare.call("POST", "payments", GOOD, key="k", **headers)


def body(**changes: Any) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


def raw(text: str) -> bytes:
    return text.encode()


INVALID = "invalid_format"
#: The body of POST /payments, and the refusal: status, code, field.
BODIES: dict[str, tuple[bytes, int, str, str | None]] = {
    "an amount with a fraction": (body(amount_minor=12.5), 422, "amount_invalid", "amount_minor"),
    "a float that is whole": (
        raw('{"amount_minor": 1000.0, "currency": "EUR"}'),
        422,
        "amount_invalid",
        "amount_minor",
    ),
    "an exponent": (raw('{"amount_minor": 1e3, "currency": "EUR"}'), 422, "amount_invalid", "amount_minor"),
    "a negative amount": (body(amount_minor=-1), 422, "amount_invalid", "amount_minor"),
    "zero": (body(amount_minor=0), 422, "amount_invalid", "amount_minor"),
    "minus zero": (raw('{"amount_minor": -0, "currency": "EUR"}'), 422, "amount_invalid", "amount_minor"),
    "one more than 2^53−1": (body(amount_minor=MAX + 1), 422, "amount_invalid", "amount_minor"),
    "an amount of many digits": (body(amount_minor=10**400), 422, "amount_invalid", "amount_minor"),
    "an amount of too many digits": (
        raw('{"amount_minor": 1' + "0" * 6000 + ', "currency": "EUR"}'),
        400,
        "malformed_json",
        None,
    ),
    "an amount as a boolean": (body(amount_minor=True), 422, "amount_invalid", "amount_minor"),
    "an amount as text": (body(amount_minor="1000"), 422, "amount_invalid", "amount_minor"),
    "an amount as a list": (body(amount_minor=[1000]), 422, "amount_invalid", "amount_minor"),
    "no amount but null": (body(amount_minor=None), 422, INVALID, "amount_minor"),
    "no amount": (raw('{"currency": "EUR"}'), 422, "missing_required_field", "amount_minor"),
    "no currency": (raw('{"amount_minor": 1}'), 422, "missing_required_field", "currency"),
    "nothing": (b"", 422, "missing_required_field", "amount_minor"),
    "a currency that does not exist": (body(currency="XYZ"), 422, "currency_unknown", "currency"),
    "a currency in lower case": (body(currency="eur"), 422, "currency_unknown", "currency"),
    "a currency with a space": (body(currency="EUR "), 422, "currency_unknown", "currency"),
    "a currency without minor units": (body(currency="XAU"), 422, "currency_unknown", "currency"),
    "the code of no currency": (body(currency="XXX"), 422, "currency_unknown", "currency"),
    "a currency as a number": (body(currency=978), 422, INVALID, "currency"),
    "a field that nobody knows": (body(amount=1000), 422, "validation_error", "amount"),
    "a misspelt option": (body(capture_methd="manual"), 422, "validation_error", "capture_methd"),
    "an option that does not exist": (body(capture_method="later"), 422, "validation_error", "capture_method"),
    "a boolean as text": (body(allow_partial="true"), 422, INVALID, "allow_partial"),
    "a reference as a number": (body(reference=17), 422, INVALID, "reference"),
    "a reference that looks like an id": (body(reference="pay_1"), 422, INVALID, "reference"),
    "a reference too long": (body(reference="r" * 65), 422, "validation_error", "reference"),
    "an empty reference": (body(reference=""), 422, INVALID, "reference"),
    "NUL in a reference": (body(reference="a\0b"), 422, INVALID, "reference"),
    "half a character in a reference": (
        raw('{"amount_minor":1,"currency":"EUR","reference":"\\ud800"}'),
        400,
        "malformed_json",
        None,
    ),
    "a merchant id that is none": (body(merchant_id="mer_1"), 422, INVALID, "merchant_id"),
    "metadata as a list": (body(metadata=["a"]), 422, INVALID, "metadata"),
    "metadata inside metadata": (body(metadata={"a": {"b": "c"}}), 422, INVALID, "metadata.a"),
    "a number in metadata": (body(metadata={"a": 1}), 422, INVALID, "metadata.a"),
    "too much metadata": (body(metadata={f"k{n}": "v" for n in range(21)}), 422, "validation_error", "metadata"),
    "a name too long in metadata": (body(metadata={"k" * 41: "v"}), 422, "validation_error", "metadata"),
    "NUL in a name of metadata": (body(metadata={"a\0": "v"}), 422, INVALID, "metadata"),
    "half a character in metadata": (
        raw('{"amount_minor":1,"currency":"EUR","metadata":{"a":"\\udfff"}}'),
        400,
        "malformed_json",
        None,
    ),
    "half a character in a name of metadata": (
        raw('{"amount_minor":1,"currency":"EUR","metadata":{"\\ud800":"v"}}'),
        400,
        "malformed_json",
        None,
    ),
    "half a character in a name": (raw('{"amount_minor":1,"currency":"EUR","\\ud800":1}'), 400, "malformed_json", None),
    "JSON that ends early": (raw('{"amount_minor": 1000'), 400, "malformed_json", None),
    "JSON with a comma too many": (raw('{"amount_minor": 1000,}'), 400, "malformed_json", None),
    "JSON in single quotes": (raw("{'amount_minor': 1000}"), 400, "malformed_json", None),
    "two JSON values": (raw("{} {}"), 400, "malformed_json", None),
    "a list": (raw("[]"), 400, "malformed_json", None),
    "a number": (raw("1000"), 400, "malformed_json", None),
    "null": (raw("null"), 400, "malformed_json", None),
    "a name twice": (raw('{"amount_minor":1,"amount_minor":100,"currency":"EUR"}'), 400, "malformed_json", None),
    "a name twice further in": (
        raw('{"amount_minor":1,"currency":"EUR","metadata":{"a":"1","a":"2"}}'),
        400,
        "malformed_json",
        None,
    ),
    "NaN": (raw('{"amount_minor": NaN, "currency": "EUR"}'), 400, "malformed_json", None),
    "Infinity": (raw('{"amount_minor": -Infinity, "currency": "EUR"}'), 400, "malformed_json", None),
    "a nest too deep": (raw('{"metadata":' + '{"a":' * 25 + "1" + "}" * 26), 400, "malformed_json", None),
    "a nest deep enough to hurt": (raw('{"a":' + "[" * 100_000 + "]" * 100_000 + "}"), 400, "malformed_json", None),
    "too many names": (raw(json.dumps({f"n{n}": 1 for n in range(2001)})), 400, "malformed_json", None),
    "UTF-16": ('{"amount_minor": 1000, "currency": "EUR"}'.encode("utf-16"), 400, "malformed_json", None),
    "bytes that are no text": (b'{"reference": "\xff"}', 400, "malformed_json", None),
    "2 MB": (body(metadata={"a": "x" * 2_000_000}), 413, "payload_too_large", None),
}


class TestABody:
    @pytest.mark.parametrize("what", BODIES)
    def test_of_the_wrong_shape_is_refused_and_writes_nothing(self, shop: Shop, what: str):
        sent, status, code, field = BODIES[what]
        before = everything_stored()

        reply = shop.call("POST", "payments", sent, key="k")

        require_typed(reply, status, code, field)
        assert everything_stored() == before

    def test_that_was_refused_leaves_its_key_to_the_corrected_one(self, shop: Shop):
        shop.call("POST", "payments", body(amount_minor=0), key="k")

        assert shop.call("POST", "payments", body(), key="k").status == 201

    def test_refused_by_a_rule_is_kept_under_its_key_and_writes_nothing_else(self, shop: Shop):
        before = row_counts()

        reply = shop.call("POST", "payments", body(merchant_id="mer_01h2xcejqtf2nbrexx3vqjhp41"), key="k")

        require_typed(reply, 422, "merchant_unknown", "merchant_id")
        assert row_counts() == {**before, "idempotency_idempotencykey": 1}
        again = shop.call("POST", "payments", body(merchant_id="mer_01h2xcejqtf2nbrexx3vqjhp41"), key="k")
        assert again.content == reply.content

    def test_of_the_greatest_amount_is_accepted(self, shop: Shop):
        reply = shop.pay(MAX)

        assert (reply.status, reply.data["amount_minor"]) == (201, MAX)

    def test_too_large_is_told_the_limit(self, shop: Shop):
        reply = shop.call("POST", "payments", BODIES["2 MB"][0], key="k")

        assert reply.error["details"] == {"limit_bytes": 256 * 1024}

    def test_with_several_faults_is_told_them_all(self, shop: Shop):
        reply = shop.call("POST", "payments", {"amount_minor": 0, "currency": "eur"}, key="k")

        assert {fault["field"] for fault in reply.error["details"]["errors"]} == {"amount_minor", "currency"}

    @pytest.mark.parametrize(
        "media_type",
        ["text/plain", "application/xml", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"],
    )
    def test_of_another_media_type_is_415(self, shop: Shop, media_type: str):
        before = everything_stored()

        reply = shop.call("POST", "payments", body(), key="k", **{"Content-Type": media_type})

        require_typed(reply, 415, "unsupported_media_type")
        assert everything_stored() == before

    def test_may_name_its_character_set(self, shop: Shop):
        assert (
            shop.call("POST", "payments", body(), key="k", **{"Content-Type": "application/json; charset=utf-8"}).status
            == 201
        )


IN_BODY, IN_HEADER = "body", "header"
#: The key in the body, the key in the header, and the code of the refusal.
IDEMPOTENCY: dict[str, tuple[Any, str | None, int, str]] = {
    "neither in body nor header": (None, None, 400, "idempotency_key_required"),
    "different ones": ("a", "b", 400, "idempotency_key_conflict"),
    "the same letters in another case": ("a", "A", 400, "idempotency_key_conflict"),
    "an empty header": (None, "", 400, "idempotency_key_invalid"),
    "an empty body field": ("", None, 400, "idempotency_key_invalid"),
    "a space inside": (None, "a b", 400, "idempotency_key_invalid"),
    "one of 256 characters": (None, "k" * 256, 400, "idempotency_key_invalid"),
    "a slash": ("a/b", None, 400, "idempotency_key_invalid"),
    "letters beyond ASCII": ("schlüssel", None, 400, "idempotency_key_invalid"),
    "empty quotes": (None, '""', 400, "idempotency_key_invalid"),
    "a number": (17, None, 422, "invalid_format"),
    "null": ("null", None, 422, "invalid_format"),
    "one of 257 characters in the body": ("k" * 257, None, 422, "validation_error"),
}


class TestAnIdempotencyKey:
    @pytest.mark.parametrize("what", IDEMPOTENCY)
    def test_that_is_missing_or_unusable_is_refused_and_writes_nothing(self, shop: Shop, what: str):
        in_body, in_header, status, code = IDEMPOTENCY[what]
        sent = {**GOOD, **({} if in_body is None else {"idempotency_key": None if in_body == "null" else in_body})}
        before = everything_stored()

        reply = shop.call("POST", "payments", sent, key=in_header)

        require_typed(reply, status, code, "idempotency_key")
        assert everything_stored() == before

    @pytest.mark.parametrize(
        ("in_body", "in_header"), [("k", "k"), ("k", None), (None, "k"), ("k", '"k"'), (None, "k" * 255)]
    )
    def test_is_taken_from_body_or_header_or_both(self, shop: Shop, in_body: str | None, in_header: str | None):
        sent = {**GOOD, **({"idempotency_key": in_body} if in_body else {})}

        assert shop.call("POST", "payments", sent, key=in_header).status == 201


MUTATIONS = {
    "payments": GOOD,
    "payments/charges": GOOD,
    "payments/refunds": {"charge_reference": "ORD_1"},
    "payments/{payment}/captures": {},
    "payments/{payment}/void": {},
}


class TestEveryRouteThatMovesMoney:
    @pytest.mark.parametrize("route", MUTATIONS)
    def test_refuses_alike(self, shop: Shop, route: str):
        payment = shop.pay(reference="ORD_1", capture_method="manual").data["id"]
        path, good = route.format(payment=payment), MUTATIONS[route]
        before = everything_stored()

        require_typed(shop.call("POST", path, good), 400, "idempotency_key_required", "idempotency_key")
        require_typed(shop.call("POST", path, {**good, "x": 1}, key="k"), 422, "validation_error", "x")
        require_typed(shop.call("POST", path, b"{", key="k"), 400, "malformed_json")
        require_typed(shop.call("POST", path, b"[1]", key="k"), 400, "malformed_json")
        require_typed(shop.call("POST", path, b"x" * 300_000, key="k"), 413, "payload_too_large")
        require_typed(
            shop.call("POST", path, b"a=1", key="k", **{"Content-Type": "text/plain"}), 415, "unsupported_media_type"
        )
        require_typed(shop.call("PUT", path, good, key="k"), 405, "method_not_allowed")
        if "amount_minor" in good or "payment" in route:
            for amount in (0, -1, 1.5, "1", True, MAX + 1):
                if "void" not in route:
                    require_typed(
                        shop.call("POST", path, {**good, "amount_minor": amount}, key="k"),
                        422,
                        "amount_invalid",
                        "amount_minor",
                    )
        assert everything_stored() == before


class TestARouteThatDoesNotExist:
    @pytest.mark.parametrize("path", ["nonsense", "payments/", "payments/x/y", "Payments"])
    def test_is_404_in_the_envelope(self, shop: Shop, path: str):
        require_typed(shop.get(path), 404, "not_found")

    @pytest.mark.parametrize(
        "text",
        ["x", "pay_", "pay_!", "pay_" + "8" * 26, "pay_" + "z" * 26, "mer_01h2xcejqtf2nbrexx3vqjhp41", "%00", "é" * 26],
    )
    def test_and_an_id_that_can_be_none_is_the_same_404(self, shop: Shop, text: str):
        reply = shop.get(f"payments/{text}")

        assert reply.status == 404
        assert reply.error["status"] == 404


class TestTextThatTheDatabaseCannotHold:
    """NUL and bytes that are no UTF-8, wherever a client may put them: never a 500."""

    @pytest.mark.parametrize("text", ["%00", "a%00b", "%ED%A0%80", "%FF", "%C3%28"])
    def test_in_a_path_or_a_query_is_refused(self, shop: Shop, text: str):
        for path in (
            f"payments/charges/{text}",
            f"payments/refunds/{text}",
            f"payments/{text}/captures",
            f"payments?reference={text}",
            f"payments?customer_id={text}",
            f"payments?status={text}",
            f"payments?start_date={text}",
            f"payments?page={text}",
            f"webhooks/deliveries?endpoint_id={text}",
            f"webhooks/deliveries?state={text}",
            f"events?after={text}",
            f"ledger/accounts/{text}/entries",
            f"ledger/trial-balance?as_of={text}",
            f"routing/decisions/{text}",
            f"callbacks/{text}",
        ):
            reply = shop.get(path)
            assert reply.status < 500, (path, reply.content)
            assert set(reply.json) <= {"success", "data", "error", "pagination", "meta"}

    def test_in_a_header_is_refused(self, shop: Shop):
        for text in ("\x7f", "é", "k\tk"):
            require_typed(
                shop.call("POST", "payments", GOOD, key=text), 400, "idempotency_key_invalid", "idempotency_key"
            )


class TestAnAnswer:
    def test_is_enveloped_under_its_request_id(self, shop: Shop):
        reply = shop.pay()

        assert set(reply.json) == {"success", "data", "meta"}
        assert reply.json["success"] is True
        assert reply.json["meta"]["request_id"] == reply.headers["X-Request-Id"]

    def test_has_a_request_id_of_its_own_every_time(self, shop: Shop):
        assert len({shop.get("payments").headers["X-Request-Id"] for _ in range(3)}) == 3


LIMITS = ["0", "-1", "101", "1.5", "abc", "", "1e1", "٣", "9999999", " 1"]


class TestAPage:
    @pytest.mark.parametrize("path", ["payments", "payments/refunds", "webhooks/endpoints", "ledger/accounts"])
    def test_is_bounded(self, shop: Shop, path: str):
        for limit in LIMITS:
            require_typed(shop.get(f"{path}?limit={limit}"), 422, "invalid_format", "limit")
        for page in ("0", "1001", "x"):
            require_typed(shop.get(f"{path}?page={page}"), 422, "invalid_format", "page")

    def test_says_where_it_lies(self, shop: Shop):
        made = [
            shop.pay(token="declined_stolen_card", key=uuid4().hex).error["details"]["payment"]["id"] for _ in range(3)
        ]

        first, second, third = (shop.get(f"payments?limit=2&page={page}") for page in (1, 2, 3))

        assert set(first.json) == {"success", "data", "pagination", "meta"}
        assert first.json["pagination"] == {"page": 1, "limit": 2, "total": 3, "pages": 2, "has_more": True}
        assert second.json["pagination"]["has_more"] is False
        assert [row["id"] for row in first.data + second.data] == made[::-1]
        assert third.data == []

    def test_has_twenty_rows_unless_asked(self, shop: Shop):
        assert shop.get("payments").json["pagination"] == {
            "page": 1,
            "limit": 20,
            "total": 0,
            "pages": 0,
            "has_more": False,
        }

    def test_with_a_filter_that_cannot_be_read_is_refused(self, shop: Shop):
        for query, field in (("status=nonsense", "status"), ("start_date=yesterday", "start_date")):
            require_typed(shop.get(f"payments?{query}"), 422, "invalid_format", field)
