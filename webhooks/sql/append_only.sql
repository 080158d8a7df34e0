-- Events and attempts are only ever added: what was told to a merchant, and what came back, stays as it was.
-- The triggers refuse everybody who goes through SQL, the owner included.
CREATE FUNCTION webhooks_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER event_append_only BEFORE UPDATE OR DELETE ON webhooks_event
    FOR EACH ROW EXECUTE FUNCTION webhooks_refuse_change();
CREATE TRIGGER event_no_truncate BEFORE TRUNCATE ON webhooks_event
    FOR EACH STATEMENT EXECUTE FUNCTION webhooks_refuse_change();
CREATE TRIGGER attempt_append_only BEFORE UPDATE OR DELETE ON webhooks_deliveryattempt
    FOR EACH ROW EXECUTE FUNCTION webhooks_refuse_change();
CREATE TRIGGER attempt_no_truncate BEFORE TRUNCATE ON webhooks_deliveryattempt
    FOR EACH STATEMENT EXECUTE FUNCTION webhooks_refuse_change();
