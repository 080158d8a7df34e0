"""The edge kernel: envelope, errors, API-key authentication, scopes, strict parsing, pagination, rate limits, schema.

May import: zentra.idempotency, zentra.evidence, zentra.tenancy, zentra.core.
"""
