"""Writing routing: decisions, and the accounts and rules that operators keep."""

from __future__ import annotations

from dataclasses import asdict
from urllib.parse import urlsplit
from uuid import UUID

from django.db import transaction
from django.db.models import CharField

from routing.models import MAX_PLACE, ProviderAccount, RoutingDecision, RoutingRule
from routing.providers.registry import adapter_codes
from routing.rules import rank, ruleset_fingerprint
from routing.selectors import MAX_ACCOUNTS, MAX_RULES, account_by_id, routing_facts, secret_context
from routing.types import MAX_DEADLINE_SECONDS, AccountSettings, RoutePlan, RouteRequest, RuleSettings
from zentra.core.clock import Clock
from zentra.core.crypto import seal
from zentra.core.db import require_transaction
from zentra.core.errors import Conflict, NotFound, Unprocessable
from zentra.core.http import AddressRefused, parse_target
from zentra.core.ids import public_id
from zentra.core.money import MAX_AMOUNT_MINOR, currency_exponent
from zentra.evidence.services import record_evidence
from zentra.evidence.types import Fact
from zentra.tenancy.models import Merchant
from zentra.tenancy.selectors import workspace_by_id
from zentra.tenancy.types import Actor, Environment

MAX_SECRET_LENGTH = 4096


class ProviderNotInstalled(Unprocessable):
    code = "provider_not_installed"
    summary = "No adapter is installed for this provider."
    remedy = "Choose one of the providers in `details.installed`."


class RoutingSettingInvalid(Unprocessable):
    code = "routing_setting_invalid"
    summary = "A setting of the provider account or routing rule is not acceptable."
    remedy = "Correct the setting named in `field`."


class RoutingNameTaken(Conflict):
    code = "routing_name_taken"
    summary = "Another account or rule of this workspace has this name."
    remedy = "Choose another name."


class RoutingLimitReached(Conflict):
    code = "routing_limit_reached"
    summary = "The workspace has as many provider accounts or routing rules as it may."
    remedy = "Change one that exists."


def plan_route(*, request: RouteRequest, seed: str, clock: Clock) -> RoutePlan:
    """Decide a route and write nothing. One statement, however many accounts and rules there are.

    :param seed: decides draws by weight; a payment passes its own id, so that its route can be replayed
    """
    facts = routing_facts(request.workspace_id)
    return RoutePlan(
        request=request,
        candidates=rank(request=request, accounts=facts.accounts, rules=facts.rules, seed=seed),
        seed=seed,
        ruleset_fingerprint=ruleset_fingerprint(accounts=facts.accounts, rules=facts.rules),
        made_at=clock.now(),
    )


def record_decision(*, payment_id: UUID, plan: RoutePlan) -> RoutingDecision:
    """Store a plan as the decision for a payment, in the payment's transaction. One statement.

    :raises NotInTransaction: a decision commits with the payment it is about, or not at all
    """
    require_transaction()
    return RoutingDecision.objects.create(
        workspace_id=plan.request.workspace_id,
        payment_id=payment_id,
        seed=plan.seed,
        request=plan.request.facts(),
        candidates=[candidate.as_json() for candidate in plan.candidates],
        chosen_account_id=plan.chosen.account_id if plan.chosen else None,
        ruleset_fingerprint=plan.ruleset_fingerprint,
        made_at=plan.made_at,
    )


@transaction.atomic
def create_provider_account(
    *,
    workspace_id: UUID,
    provider: str,
    settings: AccountSettings,
    credential: str,
    callback_secret: str = "",
    actor: Actor,
    clock: Clock,
) -> ProviderAccount:
    """A new account; its secrets are sealed and cannot be read back.

    :raises ProviderNotInstalled: no adapter under this code
    :raises RoutingSettingInvalid: a setting is out of its bounds; nothing is written
    :raises RoutingNameTaken: the workspace has an account of this name
    :raises RoutingLimitReached: the workspace has MAX_ACCOUNTS accounts
    """
    if provider not in adapter_codes():
        raise ProviderNotInstalled(field="provider", details={"installed": list(adapter_codes())})
    require_account_settings(workspace_id=workspace_id, settings=settings)
    if ProviderAccount.objects.filter(workspace_id=workspace_id).count() >= MAX_ACCOUNTS:
        raise RoutingLimitReached
    account = ProviderAccount(workspace_id=workspace_id, provider=provider, created_at=clock.now())
    _apply(account, asdict(settings))
    _seal_secrets(account, require_secret(text=credential, field="credential"), callback_secret or None)
    account.save(force_insert=True)
    _record(account, "provider_account.created", actor=actor, clock=clock)
    return account


@transaction.atomic
def update_provider_account(
    *,
    workspace_id: UUID,
    account_id: UUID,
    settings: AccountSettings,
    credential: str | None = None,
    callback_secret: str | None = None,
    actor: Actor,
    clock: Clock,
) -> ProviderAccount:
    """Change an account. Secrets that are None stay as they are; its provider and workspace never change.

    :raises NotFound: this workspace has no such account
    :raises RoutingSettingInvalid, RoutingNameTaken: as on creation; nothing is written
    """
    account = ProviderAccount.objects.select_for_update().filter(workspace_id=workspace_id, id=account_id).first()
    if account is None:
        raise NotFound
    require_account_settings(workspace_id=workspace_id, settings=settings, account_id=account_id)
    _apply(account, asdict(settings))
    _seal_secrets(
        account, None if credential is None else require_secret(text=credential, field="credential"), callback_secret
    )
    account.save()
    _record(account, "provider_account.updated", actor=actor, clock=clock)
    return account


@transaction.atomic
def create_routing_rule(*, workspace_id: UUID, settings: RuleSettings, actor: Actor, clock: Clock) -> RoutingRule:
    """A new rule.

    :raises NotFound: the account or the merchant is not of this workspace
    :raises RoutingSettingInvalid, RoutingNameTaken, RoutingLimitReached: as for accounts; nothing is written
    """
    require_rule_settings(workspace_id=workspace_id, settings=settings)
    if RoutingRule.objects.filter(workspace_id=workspace_id, enabled=True).count() >= MAX_RULES:
        raise RoutingLimitReached
    rule = RoutingRule(workspace_id=workspace_id, created_at=clock.now())
    _apply(rule, asdict(settings))
    rule.save(force_insert=True)
    _record(rule, "routing_rule.created", actor=actor, clock=clock)
    return rule


@transaction.atomic
def update_routing_rule(
    *, workspace_id: UUID, rule_id: UUID, settings: RuleSettings, actor: Actor, clock: Clock
) -> RoutingRule:
    """Change a rule; ``enabled=False`` takes it out of use. Rules are never deleted: decisions name them.

    :raises NotFound: the rule, the account or the merchant is not of this workspace
    :raises RoutingSettingInvalid, RoutingNameTaken: nothing is written
    """
    rule = RoutingRule.objects.select_for_update().filter(workspace_id=workspace_id, id=rule_id).first()
    if rule is None:
        raise NotFound
    require_rule_settings(workspace_id=workspace_id, settings=settings, rule_id=rule_id)
    _apply(rule, asdict(settings))
    rule.save()
    _record(rule, "routing_rule.updated", actor=actor, clock=clock)
    return rule


def _apply(row: ProviderAccount | RoutingRule, values: dict[str, object]) -> None:
    """Set columns from settings: no text is an empty text in the database, and several texts are an array."""
    for name, value in values.items():
        if value is None and isinstance(row._meta.get_field(name), CharField):
            value = ""
        setattr(row, name, list(value) if isinstance(value, tuple) else value)


def _seal_secrets(account: ProviderAccount, credential: str | None, callback_secret: str | None) -> None:
    if credential is not None:
        account.credential_sealed = seal(credential.encode(), context=secret_context(account, "credential"))
    if callback_secret is not None:
        text = require_secret(text=callback_secret, field="callback_secret")
        account.callback_secret_sealed = seal(text.encode(), context=secret_context(account, "callback_secret"))


def _record(row: ProviderAccount | RoutingRule, action: str, *, actor: Actor, clock: Clock) -> None:
    fact = Fact(
        workspace_id=row.workspace_id,
        actor=actor,
        action=action,
        subject=row.public_id,
        after="enabled" if row.enabled else "disabled",
        data={"priority": row.priority, "weight": row.weight}
        | ({"account_id": public_id("pac", row.account_id)} if isinstance(row, RoutingRule) else {}),
    )
    record_evidence(facts=[fact], clock=clock)


def require_secret(*, text: str, field: str) -> str:
    """The text, if it can be a secret.

    :raises RoutingSettingInvalid: empty, too long, or with characters that an HTTP header cannot carry
    """
    if not 1 <= len(text) <= MAX_SECRET_LENGTH or not (text.isascii() and text.isprintable()):
        raise RoutingSettingInvalid("a secret is 1 to 4096 printable ASCII characters", field=field)
    return text


def require_account_settings(*, workspace_id: UUID, settings: AccountSettings, account_id: UUID | None = None) -> None:
    """Refuse settings that an account of the workspace may not have. Writes nothing.

    :param account_id: the account that is to get them; None for a new one
    :raises RoutingNameTaken: another account has the name
    :raises RoutingSettingInvalid: out of bounds; ``field`` names which
    :raises UnknownCurrency: not an ISO 4217 code
    :raises NotFound: no such workspace
    """
    _check_common(settings)
    _check_name(ProviderAccount, workspace_id, settings.name, account_id)
    workspace = workspace_by_id(workspace_id)
    try:
        parse_target(settings.base_url)
    except AddressRefused as refusal:
        raise RoutingSettingInvalid(refusal.reason, field="base_url") from None
    if urlsplit(settings.base_url).query:
        raise RoutingSettingInvalid("the base address has no query", field="base_url")
    if not settings.base_url.startswith("https://") and workspace.environment != Environment.SANDBOX:
        raise RoutingSettingInvalid("a live provider is called over https", field="base_url")
    for currency in (*settings.currencies, *filter(None, [settings.settlement_currency])):
        currency_exponent(currency)
    if not all(1 <= len(method) <= 32 for method in settings.methods):
        raise RoutingSettingInvalid("a method is a word of at most 32 characters", field="methods")
    deadline = settings.deadline_seconds
    if deadline is not None and not 0 < deadline <= MAX_DEADLINE_SECONDS:
        raise RoutingSettingInvalid(f"at most {MAX_DEADLINE_SECONDS:g} seconds", field="deadline_seconds")


def require_rule_settings(*, workspace_id: UUID, settings: RuleSettings, rule_id: UUID | None = None) -> None:
    """Refuse settings that a rule of the workspace may not have. Writes nothing.

    :param rule_id: the rule that is to get them; None for a new one
    :raises RoutingNameTaken: another rule has the name
    :raises RoutingSettingInvalid: out of bounds; ``field`` names which
    :raises UnknownCurrency: not an ISO 4217 code
    :raises NotFound: the account or the merchant is not of this workspace
    """
    _check_common(settings)
    _check_name(RoutingRule, workspace_id, settings.name, rule_id)
    account_by_id(workspace_id, settings.account_id)
    if settings.currency is not None:
        currency_exponent(settings.currency)
    merchant_id = settings.merchant_id
    if merchant_id and not Merchant.objects.filter(workspace_id=workspace_id, id=merchant_id).exists():
        raise NotFound("no such merchant")


def _check_common(settings: AccountSettings | RuleSettings) -> None:
    if not 1 <= len(settings.name) <= 64:
        raise RoutingSettingInvalid("a name has 1 to 64 characters", field="name")
    low, high = settings.min_amount_minor, settings.max_amount_minor
    for field, bound in (("min_amount_minor", low), ("max_amount_minor", high)):
        if bound is not None and not 1 <= bound <= MAX_AMOUNT_MINOR:
            raise RoutingSettingInvalid(f"an amount is 1 to {MAX_AMOUNT_MINOR}", field=field)
    if low is not None and high is not None and low > high:
        raise RoutingSettingInvalid("the minimum is above the maximum", field="min_amount_minor")
    for field, value in (("priority", settings.priority), ("weight", settings.weight)):
        if not 0 <= value <= MAX_PLACE:
            raise RoutingSettingInvalid(f"{field} is 0 to {MAX_PLACE}", field=field)


def _check_name(
    model: type[ProviderAccount] | type[RoutingRule], workspace_id: UUID, name: str, own_id: UUID | None
) -> None:
    same_name = model.objects.filter(workspace_id=workspace_id, name=name)
    if (same_name.exclude(id=own_id) if own_id else same_name).exists():
        raise RoutingNameTaken(field="name")
