from __future__ import annotations

from zentra.tenancy.keys import generate_key, parse_key
from zentra.tenancy.types import Environment, KeyKind


class TestApiKeyText:
    def test_a_generated_key_parses_back_to_its_parts(self):
        made = generate_key(KeyKind.SECRET, Environment.SANDBOX)

        parsed = parse_key(made.text)

        assert parsed == made
        assert made.text.startswith("sk_sandbox_")
        assert len(made.text) == len("sk_sandbox_") + 8 + 32 + 6

    def test_one_changed_character_is_refused_without_a_look_up(self):
        text = generate_key(KeyKind.SECRET, Environment.SANDBOX).text
        position = len(text) - 20
        changed = text[:position] + ("a" if text[position] != "a" else "b") + text[position + 1 :]

        assert parse_key(changed) is None

    def test_the_text_never_shows_in_a_representation(self):
        made = generate_key(KeyKind.PUBLIC, Environment.LIVE)

        assert made.text not in repr(made)

    def test_other_forms_are_refused(self):
        for text in ("", "sk_test_x", "sk_sandbox_", "xx_sandbox_" + "a" * 46, "sk_sandbox_" + "é" * 46, "s" * 500):
            assert parse_key(text) is None


class TestDigest:
    def test_only_the_same_key_matches_its_digest(self):
        first = generate_key(KeyKind.SECRET, Environment.SANDBOX)
        second = generate_key(KeyKind.SECRET, Environment.SANDBOX)

        assert first.matches(first.digest())
        assert not second.matches(first.digest())
