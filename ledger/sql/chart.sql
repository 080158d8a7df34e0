-- The chart of accounts as the posting functions see it; ledger/rules.py is the same chart for Python, and a test compares
-- the two. floor_minor is the least balance on the normal side.
CREATE FUNCTION ledger_chart()
    RETURNS TABLE (code text, account_class text, normal_side text, balance_mode text, floor_minor bigint)
    LANGUAGE sql IMMUTABLE
AS $$
    VALUES
        ('1010', 'asset', 'debit', 'deferred', NULL::bigint),
        ('1100', 'asset', 'debit', 'deferred', NULL),
        ('1110', 'asset', 'debit', 'deferred', NULL),
        ('1120', 'asset', 'debit', 'deferred', NULL),
        ('1130', 'asset', 'debit', 'deferred', NULL),
        ('1200', 'asset', 'debit', 'deferred', NULL),
        ('2010', 'liability', 'credit', 'deferred', NULL),
        ('2020', 'liability', 'credit', 'sync', 0),
        ('2030', 'liability', 'credit', 'sync', NULL),
        ('2040', 'liability', 'credit', 'deferred', NULL),
        ('2050', 'liability', 'credit', 'deferred', NULL),
        ('2055', 'liability', 'credit', 'deferred', NULL),
        ('2060', 'liability', 'credit', 'sync', 0),
        ('2065', 'liability', 'credit', 'sync', 0),
        ('2080', 'liability', 'credit', 'deferred', NULL),
        ('2900', 'liability', 'credit', 'deferred', NULL),
        ('4010', 'income', 'credit', 'deferred', NULL),
        ('4090', 'income', 'credit', 'deferred', NULL),
        ('5010', 'expense', 'debit', 'deferred', NULL),
        ('5020', 'expense', 'debit', 'deferred', NULL),
        ('5030', 'expense', 'debit', 'deferred', NULL),
        ('5090', 'expense', 'debit', 'deferred', NULL),
        ('9010', 'memo', 'debit', 'deferred', NULL),
        ('9020', 'memo', 'credit', 'deferred', NULL),
        ('9030', 'memo', 'credit', 'deferred', NULL)
$$;
