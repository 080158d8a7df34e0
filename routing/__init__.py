"""Routing: provider accounts, rules, the decision of which account takes a payment, and the adapters that talk to it.

Invariants: a decision names every candidate and why it was passed over; an adapter never raises for a decline or a
timeout; failover only when nothing can have happened. Routing sees values, never payments.
May import: zentra.api, zentra.evidence, zentra.idempotency, zentra.tenancy, zentra.core.
"""
