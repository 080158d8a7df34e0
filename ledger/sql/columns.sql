-- What Django's fields cannot say. xid is the transaction that wrote the row: guards compare it with the current one, and
-- readers that follow the journal use it to wait for transactions that are still open (a sequence alone has gaps).
ALTER TABLE ledger_journal ADD COLUMN xid xid8 NOT NULL DEFAULT pg_current_xact_id();
ALTER TABLE ledger_entry ADD COLUMN xid xid8 NOT NULL DEFAULT pg_current_xact_id();

-- Balance rows are the only rows of the ledger that change: room on each page keeps their updates inside it (HOT).
ALTER TABLE ledger_balance SET (fillfactor = 50);
