"""
The sandbox acquirer: a process of its own that speaks HTTP like an acquirer.

It owns its operations, idempotency keys, balances, settlement batches and callbacks, in one SQLite file per
acquirer. Nothing of the platform imports it and it imports nothing of the platform: the two meet on the wire
only, which is what makes it an honest counterpart. ``docs/sandbox.md`` is its reference for integrators.
"""
