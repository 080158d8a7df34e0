"""Business policy: limits judged inside the intake transaction, after the key and before the reservation. Pure.

A refusal is saved with its verdicts, so that a repeat is given the first verdict and not judged by today's rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from payments.types import SANDBOX_TOKEN_PREFIX


@dataclass(frozen=True, slots=True)
class Verdict:
    """One policy's verdict. ``name`` is shown as evidence: 'limit_check.passed'."""

    policy: str
    passed: bool
    reason: str = ""

    @property
    def name(self) -> str:
        return f"{self.policy}.{'passed' if self.passed else 'refused'}"


@dataclass(frozen=True, slots=True)
class PolicyFacts:
    """What the policies look at.

    :param limit_minor: the workspace's most per payment in minor units, None for no limit
    """

    amount_minor: int
    limit_minor: int | None
    environment: str
    payment_token_id: str


def judge(facts: PolicyFacts) -> tuple[Verdict, ...]:
    """The verdict of every policy, in a fixed order."""
    return (_limit_check(facts), _method_check(facts))


def first_refusal(verdicts: Sequence[Verdict]) -> Verdict | None:
    return next((verdict for verdict in verdicts if not verdict.passed), None)


def _limit_check(facts: PolicyFacts) -> Verdict:
    if facts.limit_minor is not None and facts.amount_minor > facts.limit_minor:
        return Verdict("limit_check", False, "amount_above_payment_limit")
    return Verdict("limit_check", True)


def _method_check(facts: PolicyFacts) -> Verdict:
    """A published sandbox token stands for no real instrument: it must never reach a live acquirer."""
    if facts.environment != "sandbox" and facts.payment_token_id.startswith(SANDBOX_TOKEN_PREFIX):
        return Verdict("method_check", False, "sandbox_token_in_live_workspace")
    return Verdict("method_check", True)
