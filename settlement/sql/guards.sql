-- A settlement line is what the provider wrote: nobody changes it, the owner of the table included.
CREATE FUNCTION settlement_refuse_change() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER settlement_line_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON settlement_settlementline
    FOR EACH STATEMENT EXECUTE FUNCTION settlement_refuse_change();

-- What became of a line may be added to (a late match by an operator), never taken away.
CREATE TRIGGER settlement_match_kept BEFORE DELETE OR TRUNCATE ON settlement_linematch
    FOR EACH STATEMENT EXECUTE FUNCTION settlement_refuse_change();

-- A file's bytes may be purged by retention; its name, hash and origin stay.
CREATE FUNCTION settlement_keep_file() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF (NEW.sha256, NEW.size_bytes, NEW.workspace_id, NEW.provider_account_id)
       IS DISTINCT FROM (OLD.sha256, OLD.size_bytes, OLD.workspace_id, OLD.provider_account_id)
       OR (NEW.content IS DISTINCT FROM OLD.content AND NEW.content IS NOT NULL) THEN
        RAISE EXCEPTION 'a settlement file is kept as it came' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER settlement_file_kept BEFORE UPDATE ON settlement_settlementfile
    FOR EACH ROW EXECUTE FUNCTION settlement_keep_file();
CREATE TRIGGER settlement_file_not_deleted BEFORE DELETE OR TRUNCATE ON settlement_settlementfile
    FOR EACH STATEMENT EXECUTE FUNCTION settlement_refuse_change();
