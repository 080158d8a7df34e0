"""The double-entry ledger: accounts, append-only journals and entries, balances.

Owns what money is booked where, and nothing about why: callers hand over a `Posting` (`ledger.types`) and the ledger
books it once, whole and balanced, inside the caller's transaction. Invariants, each refused by PostgreSQL itself:

* a journal has at least two entries and sums to zero, on balance and in the memo group apart;
* accounts, journals and entries are never changed, removed or added to after their commit;
* an idempotency key of a workspace books once; the same key with another content is refused;
* an account with a floor never goes below it.

May import zentra.core, zentra.tenancy, zentra.evidence, zentra.idempotency and zentra.api. Payments, batches and cases
are named by bare ids: the ledger outlives any product built on it.
"""
