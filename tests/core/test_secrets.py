"""What is sealed opens only where it belongs, and what is logged holds no secret."""

from __future__ import annotations

from typing import Any

import pytest

from zentra.core.crypto import CannotDecrypt, base32_digest, keyed_hash, seal, unseal
from zentra.core.logs import luhn_valid, scrub, scrub_text

PLACE = "webhooks_endpoint|secret|w1|e1"


class TestASealedValue:
    def test_opens_in_its_place(self):
        assert unseal(seal(b"secret", context=PLACE), context=PLACE) == b"secret"
        assert unseal(memoryview(seal(b"", context=PLACE)), context=PLACE) == b""

    def test_is_another_one_every_time(self):
        assert seal(b"secret", context=PLACE) != seal(b"secret", context=PLACE)

    def test_does_not_open_in_another_place(self):
        with pytest.raises(CannotDecrypt):
            unseal(seal(b"secret", context=PLACE), context="webhooks_endpoint|secret|w1|e2")

    def test_does_not_open_under_another_key(self, settings: Any):
        sealed = seal(b"secret", context=PLACE)
        settings.ZENTRA_MASTER_KEY = b"another key, thirty-two bytes..."

        with pytest.raises(CannotDecrypt):
            unseal(sealed, context=PLACE)

    def test_does_not_open_when_a_bit_was_changed(self):
        sealed = bytearray(seal(b"secret", context=PLACE))
        for position in range(len(sealed)):
            changed = bytearray(sealed)
            changed[position] ^= 1
            with pytest.raises(CannotDecrypt):
                unseal(bytes(changed), context=PLACE)

    @pytest.mark.parametrize("blob", [b"", b"\x01", b"\x01short", b"\x02" + b"x" * 40, b"\x01" + b"x" * 20])
    def test_that_is_none_does_not_open(self, blob: bytes):
        with pytest.raises(CannotDecrypt):
            unseal(blob, context=PLACE)


class TestAKeyedHash:
    def test_depends_on_purpose_message_and_key(self, settings: Any):
        first = keyed_hash("api-key", b"a")
        others = [keyed_hash("fingerprint", b"a"), keyed_hash("api-key", b"b")]
        settings.ZENTRA_MASTER_KEY = b"another key, thirty-two bytes..."
        others.append(keyed_hash("api-key", b"a"))

        assert len(first) == 32
        assert len({first, *others}) == 4

    def test_is_written_in_lower_case_base32(self):
        assert base32_digest(b"\x00" * 32, length=32) == "a" * 32
        assert base32_digest(b"foobar", length=10) == "mzxw6ytboi"


class TestALogLine:
    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("card 4111111111111111 refused", "card 411111…1111 refused"),
            ("card 4111 1111 1111 1111 refused", "card 411111…1111 refused"),
            ("card 4111-1111-1111-1111", "card 411111…1111"),
            ("amex 378282246310005", "amex 378282…0005"),
            ("order 4111111111111112", "order 4111111111111112"),
            ("key sk_sandbox_AbCd1234567890xyz", "key sk_sandbox_AbCd…"),
            ("pk_live_AbCdEFGH", "pk_live_AbCd…"),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_…"),
            ("2026-03-02T09:30:00.123Z", "2026-03-02T09:30:00.123Z"),
        ],
    )
    def test_holds_no_card_number_and_no_key(self, text: str, shown: str):
        assert scrub_text(text) == shown

    @pytest.mark.parametrize(
        "name", ["password", "Authorization", "client_secret", "cvc", "iban", "cookie", "api_key", "pan"]
    )
    def test_masks_secret_fields_at_any_depth(self, name: str):
        assert scrub({"a": [{"b": {name: "x", "id": "pay_1"}}]}) == {"a": [{"b": {name: "[masked]", "id": "pay_1"}}]}

    def test_keeps_what_is_no_secret(self):
        plain = {"event": "request", "status": 201, "milliseconds": 1.5, "ids": ("pay_1", None), "passed": True}

        assert scrub(plain) == {**plain, "ids": ["pay_1", None]}

    def test_knows_a_card_number_by_its_check_digit(self):
        assert luhn_valid("4111111111111111")
        assert not luhn_valid("4111111111111112")
