-- Evidence is only ever added. The triggers refuse everybody who goes through SQL, the owner included; the app role has no
-- privilege to try. What an owner or superuser can still do (disable the trigger) is what sealing outside the database is for.
CREATE FUNCTION evidence_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'evidence is append-only: % refused', TG_OP USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER evidence_append_only BEFORE UPDATE OR DELETE ON evidence_evidencerecord
    FOR EACH ROW EXECUTE FUNCTION evidence_refuse_change();
CREATE TRIGGER evidence_no_truncate BEFORE TRUNCATE ON evidence_evidencerecord
    FOR EACH STATEMENT EXECUTE FUNCTION evidence_refuse_change();
