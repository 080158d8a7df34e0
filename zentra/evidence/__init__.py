"""Evidence: an append-only, hashed record of every transition, decision and operator action.

Records are written in the transaction of what they record, carry ids and no personal data, and are refused any
change by the database. A record is `evidenced` when written and hashed, `audit_ready` once inside a signed checkpoint.
May import: zentra.core, zentra.tenancy.
"""
