-- The doors of the ledger for everything that writes to it: ledger_post, ledger_post_batch, ledger_lock_balance.
-- They work inside the caller's transaction and run as the owner; the product's role has no other way to write.
--
-- A posting is {"id": uuid, "key", "kind", "currency", "fingerprint": hex, "effective_date", "posted_at",
--   "payment_id", "batch_id", "case_id", "reverses_id": uuid or null, "meta": {},
--   "legs": [{"code", "owner_type", "owner_id", "dimension", "amount_minor"}, …]}; debit positive, credit negative.
-- SQLSTATEs: ZL001 key reused with another content, ZL002 floor breached, ZL006 the call itself is malformed.

-- A fresh UUIDv7 (RFC 9562 §5.7): 48 bits of milliseconds in front of a random UUID's tail, version nibble 4 made 7.
CREATE FUNCTION ledger_new_id() RETURNS uuid
    LANGUAGE sql VOLATILE
AS $$
    SELECT encode(
        substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
            || set_byte(tail, 0, (get_byte(tail, 0) & 15) | 112), 'hex')::uuid
      FROM (SELECT substring(uuid_send(gen_random_uuid()) FROM 7) AS tail) random
$$;

CREATE FUNCTION ledger_headers(p_postings jsonb)
    RETURNS TABLE (id uuid, key text, kind text, currency text, fingerprint bytea, effective_date date,
                   posted_at timestamptz, payment_id uuid, batch_id uuid, case_id uuid, reverses_id uuid, meta jsonb,
                   legs jsonb, ordinal bigint)
    LANGUAGE sql STABLE
AS $$
    SELECT p.id, p.key, p.kind, p.currency, decode(p.fingerprint, 'hex'), p.effective_date,
           p.posted_at, p.payment_id, p.batch_id, p.case_id, p.reverses_id, p.meta, p.legs, p.ordinality
      FROM ROWS FROM (jsonb_to_recordset(p_postings) AS (
               id uuid, key text, kind text, currency text, fingerprint text, effective_date date,
               posted_at timestamptz, payment_id uuid, batch_id uuid, case_id uuid, reverses_id uuid, meta jsonb, legs jsonb
           )) WITH ORDINALITY AS p
$$;

CREATE FUNCTION ledger_legs(p_legs jsonb)
    RETURNS TABLE (code text, owner_type text, owner_id text, dimension text, amount_minor bigint, ordinal bigint)
    LANGUAGE sql STABLE
AS $$
    SELECT l.code, coalesce(l.owner_type, ''), coalesce(l.owner_id, ''), coalesce(l.dimension, ''), l.amount_minor, l.ordinality
      FROM ROWS FROM (jsonb_to_recordset(p_legs) AS (
               code text, owner_type text, owner_id text, dimension text, amount_minor bigint
           )) WITH ORDINALITY AS l
$$;

-- Creates the accounts that are named and missing, each with its zero balance row if it has one: a row that does not exist
-- cannot be locked. Sorted, so that two transactions creating the same accounts wait for each other instead of deadlocking.
CREATE FUNCTION ledger_open_accounts(p_workspace uuid, p_accounts jsonb) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    v_unknown text;
BEGIN
    SELECT n.code INTO v_unknown
      FROM jsonb_to_recordset(p_accounts) AS n(code text)
     WHERE NOT EXISTS (SELECT 1 FROM ledger_chart() c WHERE c.code = n.code)
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the chart of accounts has no code %', v_unknown USING ERRCODE = 'ZL006';
    END IF;

    WITH opened AS (
        INSERT INTO ledger_account (id, workspace_id, code, owner_type, owner_id, dimension, currency,
                                    account_class, normal_side, balance_mode, floor_minor)
        SELECT ledger_new_id(), p_workspace, n.code, n.owner_type, n.owner_id, n.dimension, n.currency,
               c.account_class, c.normal_side, c.balance_mode, c.floor_minor
          FROM jsonb_to_recordset(p_accounts) AS n(code text, owner_type text, owner_id text, dimension text, currency text)
          JOIN ledger_chart() c ON c.code = n.code
         ORDER BY n.code, n.owner_type, n.owner_id, n.dimension, n.currency
        ON CONFLICT (workspace_id, code, owner_type, owner_id, dimension, currency) DO NOTHING
        RETURNING id, balance_mode
    )
    INSERT INTO ledger_balance (account_id, posted_minor, version)
    SELECT id, 0, 0 FROM opened WHERE balance_mode = 'sync' ORDER BY id;
END $$;

-- Books up to 500 postings, each once, in one call; returns [{"id", "replayed", "entry_ids"}, …] in their order.
-- Floors are judged at the end of the call: what counts is the balance that commits.
--
-- Every table is reached by key. The planner cannot know that: it takes an array of JSON for a hundred rows, and a table
-- that was empty when the plan was made for empty, and would read whole tables. So accounts and journals are looked up in
-- subqueries that it cannot turn into joins, whole-table plans are off, and the plan is made once.
CREATE FUNCTION ledger_post_batch(p_workspace uuid, p_postings jsonb) RETURNS jsonb
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
    SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    v_new uuid[];
    v_missing jsonb;
    v_key text;
    v_change record;
    v_result jsonb;
BEGIN
    IF jsonb_array_length(p_postings) > 500 THEN
        RAISE EXCEPTION '% postings in one call; at most 500', jsonb_array_length(p_postings) USING ERRCODE = 'ZL006';
    END IF;

    -- Sorted by key: calls with keys in common wait for each other in one order.
    WITH booked AS (
        INSERT INTO ledger_journal (id, workspace_id, kind, idempotency_key, fingerprint, currency, effective_date,
                                    posted_at, reverses_id, payment_id, batch_id, case_id, meta)
        SELECT h.id, p_workspace, h.kind, h.key, h.fingerprint, h.currency, h.effective_date,
               h.posted_at, h.reverses_id, h.payment_id, h.batch_id, h.case_id, coalesce(h.meta, '{}')
          FROM ledger_headers(p_postings) h
         ORDER BY h.key, h.ordinal
        ON CONFLICT (workspace_id, idempotency_key) DO NOTHING
        RETURNING id
    )
    SELECT coalesce(array_agg(id), '{}') INTO v_new FROM booked;

    IF cardinality(v_new) < jsonb_array_length(p_postings) THEN
        SELECT h.key INTO v_key
          FROM ledger_headers(p_postings) h
         WHERE h.fingerprint <> (SELECT j.fingerprint FROM ledger_journal j
                                  WHERE j.workspace_id = p_workspace AND j.idempotency_key = h.key)
         LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION 'posting key % was booked before with another content', v_key
                USING ERRCODE = 'ZL001', DETAIL = v_key;
        END IF;
    END IF;

    SELECT jsonb_agg(DISTINCT jsonb_build_object('code', l.code, 'owner_type', l.owner_type, 'owner_id', l.owner_id,
                                                 'dimension', l.dimension, 'currency', h.currency))
      INTO v_missing
      FROM ledger_headers(p_postings) h CROSS JOIN LATERAL ledger_legs(h.legs) l
     WHERE h.id = ANY (v_new)
       AND (SELECT a.id FROM ledger_account a
             WHERE a.workspace_id = p_workspace AND a.code = l.code AND a.owner_type = l.owner_type
               AND a.owner_id = l.owner_id AND a.dimension = l.dimension AND a.currency = h.currency) IS NULL;
    IF v_missing IS NOT NULL THEN
        PERFORM ledger_open_accounts(p_workspace, v_missing);
    END IF;

    INSERT INTO ledger_entry (journal_id, account_id, workspace_id, currency, amount_minor, effective_date,
                              payment_id, case_id)
    SELECT h.id,
           (SELECT a.id FROM ledger_account a
             WHERE a.workspace_id = p_workspace AND a.code = l.code AND a.owner_type = l.owner_type
               AND a.owner_id = l.owner_id AND a.dimension = l.dimension AND a.currency = h.currency),
           p_workspace, h.currency, l.amount_minor, h.effective_date, h.payment_id, h.case_id
      FROM ledger_headers(p_postings) h CROSS JOIN LATERAL ledger_legs(h.legs) l
     WHERE h.id = ANY (v_new)
     ORDER BY h.ordinal, l.ordinal;

    -- Ascending account id: the one lock order of all postings. The floor is judged by the update that moves the balance,
    -- after it has waited for whoever moved it before.
    FOR v_change IN
        SELECT a.id, a.code, a.owner_type, a.owner_id, a.dimension, a.currency, a.floor_minor,
               CASE a.normal_side WHEN 'debit' THEN 1 ELSE -1 END AS sign, sum(e.amount_minor) AS amount_minor
          FROM ledger_entry e JOIN ledger_account a ON a.id = e.account_id
         WHERE e.journal_id = ANY (v_new) AND a.balance_mode = 'sync'
         GROUP BY a.id
         ORDER BY a.id
    LOOP
        UPDATE ledger_balance b
           SET posted_minor = b.posted_minor + v_change.amount_minor, version = b.version + 1
         WHERE b.account_id = v_change.id
           AND (v_change.floor_minor IS NULL
                OR v_change.sign * (b.posted_minor + v_change.amount_minor) >= v_change.floor_minor);
        IF NOT FOUND THEN
            RAISE EXCEPTION 'account % would go below its floor',
                    concat_ws(':', v_change.code, nullif(v_change.owner_type, ''), nullif(v_change.owner_id, ''),
                              nullif(v_change.dimension, ''), v_change.currency)
                USING ERRCODE = 'ZL002', DETAIL = v_change.id::text;
        END IF;
    END LOOP;

    SELECT jsonb_agg(jsonb_build_object(
               'id', b.id,
               'replayed', NOT (b.id = b.asked AND b.id = ANY (v_new)),
               'entry_ids', (SELECT jsonb_agg(e.id ORDER BY e.id) FROM ledger_entry e WHERE e.journal_id = b.id)
           ) ORDER BY b.ordinal)
      INTO v_result
      FROM (SELECT h.id AS asked, h.ordinal, (SELECT j.id FROM ledger_journal j WHERE j.workspace_id = p_workspace
                                                 AND j.idempotency_key = h.key) AS id
              FROM ledger_headers(p_postings) h) b;
    RETURN coalesce(v_result, '[]');
END $$;

-- Books one posting once; returns {"id", "replayed", "entry_ids"}.
CREATE FUNCTION ledger_post(p_workspace uuid, p_posting jsonb) RETURNS jsonb
    LANGUAGE plpgsql
AS $$
BEGIN
    RETURN public.ledger_post_batch(p_workspace, jsonb_build_array(p_posting)) -> 0;
END $$;

-- Locks the balance row of one account until the transaction ends and returns what is posted on it (debit positive).
-- The account and its row are created when missing, so that an account never used can be locked too.
CREATE FUNCTION ledger_lock_balance(p_workspace uuid, p_account jsonb) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    v_posted bigint;
    v_tries int := 0;
BEGIN
    LOOP
        SELECT b.posted_minor INTO v_posted
          FROM jsonb_to_record(p_account) AS n(code text, owner_type text, owner_id text, dimension text, currency text)
          JOIN ledger_account a
            ON (a.workspace_id, a.code, a.owner_type, a.owner_id, a.dimension, a.currency)
               = (p_workspace, n.code, n.owner_type, n.owner_id, n.dimension, n.currency)
          JOIN ledger_balance b ON b.account_id = a.id
           FOR UPDATE OF b;
        IF FOUND THEN
            RETURN v_posted;
        END IF;
        v_tries := v_tries + 1;
        IF v_tries > 1 THEN
            RAISE EXCEPTION 'account % keeps no balance row', p_account ->> 'code' USING ERRCODE = 'ZL006';
        END IF;
        PERFORM ledger_open_accounts(p_workspace, jsonb_build_array(p_account));
    END LOOP;
END $$;

-- Functions are executable by PUBLIC unless said otherwise; the migration step that grants to the product's role follows.
REVOKE ALL ON FUNCTION ledger_post(uuid, jsonb), ledger_post_batch(uuid, jsonb), ledger_lock_balance(uuid, jsonb),
    ledger_open_accounts(uuid, jsonb) FROM PUBLIC;
