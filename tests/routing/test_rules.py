"""Which account takes a payment: every reason, the order, draws by weight, and the replay of a decision."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.rules import REASONS, provider_key, rank, replay_order, ruleset_fingerprint
from routing.types import Candidate, RoutePlan
from tests.factories.routing import account_facts, route_request, rule_facts
from zentra.core.clock import SYSTEM_CLOCK

ELSEWHERE = frozenset({UUID(int=1)})


def ranked(accounts, rules=(), *, seed="pay", **request):
    return rank(request=route_request(**request), accounts=accounts, rules=rules, seed=seed)


def names(candidates):
    return [candidate.name for candidate in candidates if candidate.eligible]


class TestAnAccountIsPassedOver:
    """Each row excludes by one fact alone; the same account without that fact is chosen."""

    EXCLUSIONS = (
        ("account_disabled", {"enabled": False}, {}),
        ("provider_unknown", {"provider_known": False}, {}),
        ("sandbox_provider", {"sandbox_only": True}, {"environment": "live"}),
        ("currency_not_supported", {"currencies": ("USD", "GBP")}, {}),
        ("settles_in_another_currency", {"settlement_currency": "USD"}, {}),
        ("method_not_supported", {"methods": ("bank_debit",)}, {}),
        ("method_not_supported", {"provider_methods": ("bank_debit",)}, {}),
        ("amount_below_minimum", {"min_amount_minor": 1251}, {}),
        ("amount_above_maximum", {"max_amount_minor": 1249}, {}),
        ("no_credential_at_account", {}, {"credential_account_ids": ELSEWHERE}),
    )

    @pytest.mark.parametrize(("reason", "facts", "request_facts"), EXCLUSIONS)
    def test_for_one_named_reason(self, reason, facts, request_facts):
        account = account_facts(**facts)

        [candidate] = ranked([account], **request_facts)

        assert (candidate.eligible, candidate.rank, candidate.reasons) == (False, None, (reason,))

    @pytest.mark.parametrize(
        "facts",
        [
            {},
            {"sandbox_only": True},
            {"currencies": ("USD", "EUR")},
            {"settlement_currency": "EUR"},
            {"methods": ("bank_debit", "card"), "provider_methods": ("card",)},
            {"min_amount_minor": 1250, "max_amount_minor": 1250},
        ],
    )
    def test_by_none_of_them_when_the_fact_fits(self, facts):
        [candidate] = ranked([account_facts(**facts)])

        assert (candidate.eligible, candidate.rank, candidate.reasons) == (True, 1, ())

    def test_not_when_the_credential_is_held_there(self):
        account = account_facts()

        [candidate] = ranked([account], credential_account_ids=frozenset({account.account_id}))

        assert candidate.eligible

    def test_naming_every_reason_at_once(self):
        account = account_facts(enabled=False, currencies=("USD",), min_amount_minor=9999)

        [candidate] = ranked([account])

        assert candidate.reasons == ("account_disabled", "currency_not_supported", "amount_below_minimum")

    def test_for_reasons_that_are_all_explained(self):
        produced = {reason for reason, _, _ in self.EXCLUSIONS} | {"lower_priority", "weight_lost"}

        assert produced == set(REASONS)


class TestTheOrder:
    def test_goes_by_priority_and_says_so(self):
        first, second, third = (
            account_facts(name, priority=place) for name, place in zip("abc", (1, 2, 3), strict=True)
        )

        candidates = ranked([third, first, second])

        assert [(item.name, item.rank, item.reasons) for item in candidates] == [
            ("a", 1, ()),
            ("b", 2, ("lower_priority",)),
            ("c", 3, ("lower_priority",)),
        ]

    def test_puts_accounts_of_matching_rules_before_all_others(self):
        preferred, named = account_facts("preferred", priority=1), account_facts("named", priority=99)

        candidates = ranked([preferred, named], [rule_facts(named, name="euro cards", currency="EUR", priority=50)])

        assert names(candidates) == ["named", "preferred"]
        assert (candidates[0].rule, candidates[0].placed_by, candidates[0].priority) == ("euro cards", "rule", 50)
        assert (candidates[1].rule, candidates[1].placed_by) == (None, "account")

    def test_takes_the_best_of_several_matching_rules(self):
        one, two = account_facts("one"), account_facts("two")
        rules = [
            rule_facts(one, name="late", priority=30),
            rule_facts(two, name="middle", priority=20),
            rule_facts(one, name="early", priority=10),
        ]

        candidates = ranked([two, one], rules)

        assert [(item.name, item.rule) for item in candidates] == [("one", "early"), ("two", "middle")]

    @pytest.mark.parametrize(
        "condition",
        [
            {"currency": "USD"},
            {"method": "bank_debit"},
            {"merchant_id": uuid4()},
            {"min_amount_minor": 1251},
            {"max_amount_minor": 1249},
            {"currency": "EUR", "method": "bank_debit"},
        ],
    )
    def test_ignores_a_rule_of_which_one_condition_fails(self, condition):
        first, other = account_facts("first", priority=1), account_facts("other", priority=2)

        candidates = ranked([first, other], [rule_facts(other, **condition)], merchant_id=uuid4())

        assert names(candidates) == ["first", "other"]
        assert candidates[1].rule is None

    def test_follows_a_rule_of_which_every_condition_holds(self):
        merchant_id = uuid4()
        first, other = account_facts("first", priority=1), account_facts("other", priority=2)
        rule = rule_facts(
            other, currency="EUR", method="card", merchant_id=merchant_id, min_amount_minor=1250, max_amount_minor=1250
        )

        assert names(ranked([first, other], [rule], merchant_id=merchant_id)) == ["other", "first"]

    def test_never_lets_a_rule_make_an_account_eligible(self):
        disabled, plain = account_facts("disabled", enabled=False), account_facts("plain")

        candidates = ranked([disabled, plain], [rule_facts(disabled, name="to disabled")])

        assert [(item.name, item.eligible, item.rule) for item in candidates] == [
            ("plain", True, None),
            ("disabled", False, "to disabled"),
        ]

    def test_ignores_a_rule_for_an_account_that_is_not_there(self):
        assert names(ranked([account_facts("here")], [rule_facts(account_facts("gone"))])) == ["here"]

    def test_of_no_accounts_is_empty(self):
        assert ranked([]) == ()

    def test_does_not_depend_on_the_order_that_the_facts_come_in(self):
        accounts = [account_facts(f"account {number}", priority=number % 3) for number in range(9)]
        rules = [rule_facts(account, name=f"rule {account.name}") for account in accounts[:4]]

        assert ranked(accounts, rules) == ranked(accounts[::-1], rules[::-1])


class TestADrawByWeight:
    SEEDS = [f"payment {number}" for number in range(10_000)]

    def test_gives_the_loser_its_reason(self):
        accounts = [account_facts("a"), account_facts("b")]

        winner, loser = ranked(accounts)

        assert (winner.reasons, loser.reasons, loser.rank) == ((), ("weight_lost",), 2)

    def test_is_the_same_for_the_same_seed_and_another_for_others(self):
        accounts = [account_facts("a"), account_facts("b")]

        winners = {seed: names(ranked(accounts, seed=seed))[0] for seed in self.SEEDS[:50]}

        assert all(names(ranked(accounts, seed=seed))[0] == winner for seed, winner in winners.items())
        assert set(winners.values()) == {"a", "b"}

    def test_shares_in_proportion(self):
        accounts = [account_facts("a", weight=70), account_facts("b", weight=20), account_facts("c", weight=10)]

        won = Counter(names(ranked(accounts, seed=seed))[0] for seed in self.SEEDS)

        # Four standard deviations of a binomial count over 10 000 draws are below 184.
        assert {name: pytest.approx(share, abs=184) for name, share in (("a", 7000), ("b", 2000), ("c", 1000))} == won

    def test_shares_the_second_place_in_proportion_too(self):
        accounts = [account_facts("a", weight=60), account_facts("b", weight=30), account_facts("c", weight=10)]

        orders = (names(ranked(accounts, seed=seed)) for seed in self.SEEDS)
        second = Counter(order[1] for order in orders if order[0] == "a")

        assert second["b"] / second.total() == pytest.approx(0.75, abs=0.025)

    def test_takes_weight_zero_only_when_nothing_else_is_left(self):
        accounts = [account_facts("never", weight=0), account_facts("always", weight=1)]

        assert {tuple(names(ranked(accounts, seed=seed))) for seed in self.SEEDS[:200]} == {("always", "never")}

    def test_of_weights_that_are_all_zero_goes_by_age(self):
        older, newer = account_facts("older", weight=0), account_facts("newer", weight=0)

        assert names(ranked([newer, older])) == ["older", "newer"]


class TestAStoredDecision:
    def test_replays_to_the_same_order_after_the_rules_changed(self):
        accounts = [
            account_facts(f"account {number}", weight=number * 7 % 10, priority=number % 2) for number in range(8)
        ]
        rules = [rule_facts(account, name=f"rule {account.name}", weight=3) for account in accounts[:3]]

        for seed in ("one", "two", "three"):
            decided = ranked(accounts, rules, seed=seed)
            stored = [Candidate.from_json(candidate.as_json()) for candidate in decided]

            assert tuple(stored) == decided
            assert replay_order(candidates=stored[::-1], seed=seed) == tuple(item for item in decided if item.eligible)

    def test_names_who_comes_next_after_those_that_were_tried(self):
        first, second = account_facts("first", priority=1), account_facts("second", priority=2)
        off = account_facts("off", enabled=False)
        plan = RoutePlan(
            request=route_request(),
            candidates=ranked([first, off, second]),
            seed="pay",
            ruleset_fingerprint="",
            made_at=SYSTEM_CLOCK.now(),
        )

        assert plan.chosen.name == "first"
        assert plan.next_after([first.account_id]).name == "second"
        assert plan.next_after([first.account_id, second.account_id]) is None

    def test_has_nobody_chosen_when_nobody_is_eligible(self):
        plan = RoutePlan(
            request=route_request(),
            candidates=ranked([account_facts(enabled=False)]),
            seed="pay",
            ruleset_fingerprint="",
            made_at=SYSTEM_CLOCK.now(),
        )

        assert plan.chosen is None
        assert plan.order == ()


class TestTheRuleSetFingerprint:
    def test_changes_with_every_fact_and_with_nothing_else(self):
        account = account_facts()
        rule = rule_facts(account)
        changed = {
            "nothing": ([account], [rule]),
            "weight": ([replace(account, weight=1)], [rule]),
            "currency": ([replace(account, currencies=("EUR",))], [rule]),
            "condition": ([account], [replace(rule, currency="EUR")]),
            "no rule": ([account], []),
            "more": ([account, account_facts("beta")], [rule]),
        }

        prints = {name: ruleset_fingerprint(accounts=pair[0], rules=pair[1]) for name, pair in changed.items()}

        assert len(set(prints.values())) == len(changed)
        assert prints["nothing"] == ruleset_fingerprint(accounts=iter([account]), rules=iter([rule]))

    def test_does_not_depend_on_the_order(self):
        accounts = [account_facts(name) for name in "abc"]
        rules = [rule_facts(account) for account in accounts]

        assert ruleset_fingerprint(accounts=accounts, rules=rules) == ruleset_fingerprint(
            accounts=accounts[::-1], rules=rules[::-1]
        )


class TestAProviderKey:
    WORKSPACE, PAYMENT = UUID(int=7), UUID(int=8)

    def test_is_32_base32_characters_and_always_the_same(self):
        key = provider_key(self.WORKSPACE, self.PAYMENT, "authorize", 1)

        assert len(key) == 32
        assert set(key) <= set("abcdefghijklmnopqrstuvwxyz234567")
        assert key == provider_key(self.WORKSPACE, self.PAYMENT, "authorize", 1)

    @given(
        st.sets(
            st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from(["capture", "refund"]), st.integers(1, 9)),
            min_size=2,
        )
    )
    def test_differs_for_every_other_operation(self, operations):
        keys = {provider_key(UUID(int=one), UUID(int=two), word, number) for one, two, word, number in operations}

        assert len(keys) == len(operations)

    def test_refuses_an_operation_that_does_not_exist(self):
        with pytest.raises(ValueError, match="authorise"):
            provider_key(self.WORKSPACE, self.PAYMENT, "authorise", 1)
