from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from webhooks.signing import (
    MalformedSecret,
    new_secret,
    own_signature,
    parse_secret,
    secret_text,
    signature_headers,
    verify_own,
    verify_standard,
)

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text(encoding="utf-8"))["vectors"]
NOW = 1_790_000_000
BODY = b'{"type":"payment.created"}'


def headers(*secrets: bytes, timestamp: int = NOW) -> dict[str, str]:
    return signature_headers(event_id="evt_1", timestamp=timestamp, body=BODY, secrets=secrets)


class TestVectors:
    @pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
    def test_the_published_examples_are_what_we_sign(self, vector: dict[str, object]) -> None:
        made = signature_headers(
            event_id=str(vector["webhook_id"]),
            timestamp=int(str(vector["timestamp"])),
            body=str(vector["body"]).encode(),
            secrets=[parse_secret(text) for text in vector["secrets"]],  # type: ignore[attr-defined]
        )

        assert made == vector["headers"]


class TestStandardSignature:
    def test_the_official_library_accepts_ours(self) -> None:
        secret = new_secret()
        now = int(datetime.now(UTC).timestamp())

        verified = Webhook(secret_text(secret)).verify(BODY, headers(secret, timestamp=now))

        assert verified == json.loads(BODY)

    def test_the_official_library_accepts_either_secret_while_rotating(self) -> None:
        new, old = new_secret(), new_secret()
        now = int(datetime.now(UTC).timestamp())

        for secret in (new, old):
            Webhook(secret_text(secret)).verify(BODY, headers(new, old, timestamp=now))

    def test_the_official_library_refuses_another_secret(self) -> None:
        now = int(datetime.now(UTC).timestamp())

        with pytest.raises(WebhookVerificationError):
            Webhook(secret_text(new_secret())).verify(BODY, headers(new_secret(), timestamp=now))

    def test_we_accept_what_the_official_library_signs(self) -> None:
        secret = new_secret()
        signature = Webhook(secret_text(secret)).sign("evt_9", datetime.fromtimestamp(NOW, UTC), BODY.decode())
        given = {"webhook-id": "evt_9", "webhook-timestamp": str(NOW), "webhook-signature": signature}

        assert verify_standard(headers=given, body=BODY, secrets=[secret], now=NOW)


class TestVerify:
    @pytest.mark.parametrize("offset", [-300, 0, 300])
    def test_accepts_both_headers_within_five_minutes(self, offset: int) -> None:
        secret = new_secret()
        given = headers(secret)

        assert verify_standard(headers=given, body=BODY, secrets=[secret], now=NOW + offset)
        assert verify_own(header=given["x-zentra-signature"], body=BODY, secrets=[secret], now=NOW + offset)

    @pytest.mark.parametrize("offset", [-301, 301])
    def test_refuses_a_timestamp_outside_five_minutes(self, offset: int) -> None:
        secret = new_secret()
        given = headers(secret)

        assert not verify_standard(headers=given, body=BODY, secrets=[secret], now=NOW + offset)
        assert not verify_own(header=given["x-zentra-signature"], body=BODY, secrets=[secret], now=NOW + offset)

    def test_refuses_another_body_id_timestamp_or_key(self) -> None:
        secret = new_secret()
        given = headers(secret)
        own = given["x-zentra-signature"]

        assert not verify_standard(headers=given, body=BODY + b" ", secrets=[secret], now=NOW)
        assert not verify_own(header=own, body=BODY + b" ", secrets=[secret], now=NOW)
        assert not verify_standard(headers={**given, "webhook-id": "evt_2"}, body=BODY, secrets=[secret], now=NOW)
        later = {**given, "webhook-timestamp": str(NOW + 1)}
        assert not verify_standard(headers=later, body=BODY, secrets=[secret], now=NOW)
        assert not verify_own(header=own.replace(str(NOW), str(NOW + 1)), body=BODY, secrets=[secret], now=NOW)
        assert not verify_standard(headers=given, body=BODY, secrets=[new_secret()], now=NOW)
        assert not verify_own(header=own, body=BODY, secrets=[new_secret()], now=NOW)

    @pytest.mark.parametrize(
        "header",
        ["", "v1=", "t=", f"t={NOW}", f"t={NOW},v1=", f"t={NOW},t={NOW},v1=aa", f"t=+{NOW},v1=aa", "t=１,v1=ä", ",,="],
    )
    def test_a_malformed_header_is_a_no_and_not_an_error(self, header: str) -> None:
        standard = {"webhook-id": "evt_1", "webhook-timestamp": header, "webhook-signature": header}

        assert not verify_own(header=header, body=BODY, secrets=[b"x" * 32], now=NOW)
        assert not verify_standard(headers=standard, body=BODY, secrets=[b"x" * 32], now=NOW)

    def test_a_right_signature_after_many_wrong_ones_does_not_make_the_receiver_work_for_ever(self) -> None:
        secret = new_secret()
        header = f"t={NOW}," + "v1=00," * 1000 + f"v1={own_signature(secret, NOW, BODY)}"

        assert not verify_own(header=header, body=BODY, secrets=[secret], now=NOW)


class TestSecrets:
    def test_the_text_of_a_secret_reads_back(self) -> None:
        secret = new_secret()

        assert len(secret) == 32
        assert parse_secret(secret_text(secret)) == secret

    def test_two_secrets_are_never_the_same(self) -> None:
        assert new_secret() != new_secret()

    @pytest.mark.parametrize(
        "text",
        ["", "whsec_", "whsec_!!", base64.b64encode(b"x" * 32).decode(), "whsec_" + "eA==", "whsec_" + "A" * 200],
    )
    def test_other_text_is_refused(self, text: str) -> None:
        with pytest.raises(MalformedSecret):
            parse_secret(text)

    def test_nothing_is_signed_without_a_secret(self) -> None:
        with pytest.raises(ValueError, match="no key"):
            headers()
