-- What the database refuses, whoever asks (the owner included; a superuser may still switch triggers off, which is what
-- sealing outside the database is for). SQLSTATEs: ZL003 unbalanced, ZL004 entry does not belong, ZL005 append-only.
--
-- Every function fixes its search_path with pg_temp last: unnamed, temporary tables would be searched first, and a session
-- could put a table of its own in front of the ledger's.

-- (1) At commit every journal has at least two entries and sums to zero, memo accounts apart; a reversal mirrors exactly.
CREATE FUNCTION ledger_check_journal() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    SET enable_seqscan = off SET plan_cache_mode = force_generic_plan -- by key, whatever the table looked like once
AS $$
DECLARE
    v_entries bigint;
    v_left text;
BEGIN
    SELECT coalesce(sum(g.entries), 0),
           string_agg(format('%s %s %s', g.left_minor, g.currency, CASE WHEN g.is_memo THEN 'memo' ELSE 'on balance' END), ', ')
               FILTER (WHERE g.left_minor <> 0)
      INTO v_entries, v_left
      FROM (SELECT e.currency, a.account_class = 'memo' AS is_memo, count(*) AS entries, sum(e.amount_minor) AS left_minor
              FROM ledger_entry e JOIN ledger_account a ON a.id = e.account_id
             WHERE e.journal_id = NEW.id
             GROUP BY 1, 2) g;
    IF v_entries < 2 THEN
        RAISE EXCEPTION 'journal % has % entries; it needs at least two', NEW.id, v_entries USING ERRCODE = 'ZL003';
    END IF;
    IF v_left IS NOT NULL THEN
        RAISE EXCEPTION 'journal % does not balance: %', NEW.id, v_left USING ERRCODE = 'ZL003';
    END IF;
    IF NEW.reverses_id IS NOT NULL AND EXISTS (
        SELECT 1
          FROM (SELECT account_id, amount_minor FROM ledger_entry WHERE journal_id = NEW.id
                UNION ALL
                SELECT account_id, amount_minor FROM ledger_entry WHERE journal_id = NEW.reverses_id) pair
         GROUP BY account_id, abs(amount_minor)
        HAVING sum(amount_minor) <> 0
    ) THEN
        RAISE EXCEPTION 'journal % is not the mirror of %', NEW.id, NEW.reverses_id USING ERRCODE = 'ZL003';
    END IF;
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER ledger_journal_balances AFTER INSERT ON ledger_journal
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ledger_check_journal();

-- (2) Entries are written by the transaction that wrote their journal, in the journal's and account's workspace and currency.
CREATE FUNCTION ledger_check_entries() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    v_current xid8 := pg_current_xact_id();
    v_journal uuid;
BEGIN
    SELECT n.journal_id INTO v_journal
      FROM added n
      LEFT JOIN ledger_journal j ON j.id = n.journal_id
      LEFT JOIN ledger_account a ON a.id = n.account_id
     WHERE (j.xid, n.xid, j.workspace_id, j.currency, a.workspace_id, a.currency)
           IS DISTINCT FROM (v_current, v_current, n.workspace_id, n.currency, n.workspace_id, n.currency)
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'entry does not belong to journal %', v_journal
            USING ERRCODE = 'ZL004',
                  DETAIL = 'its journal was written by another transaction, or workspace or currency differ';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER ledger_entry_belongs AFTER INSERT ON ledger_entry
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION ledger_check_entries();

-- (3) Nothing is changed, deleted or truncated.
CREATE FUNCTION ledger_refuse_change() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'ZL005';
END $$;

CREATE TRIGGER ledger_account_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_account
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER ledger_journal_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_journal
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER ledger_entry_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_entry
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER ledger_balance_kept BEFORE DELETE OR TRUNCATE ON ledger_balance
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
