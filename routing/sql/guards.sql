-- A decision is what an auditor replays, so it is only ever added. The triggers refuse everybody who goes through SQL, the
-- owner included; the app role has no privilege to try.
CREATE FUNCTION routing_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'routing decisions are append-only: % refused', TG_OP USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER routing_decision_append_only BEFORE UPDATE OR DELETE ON routing_routingdecision
    FOR EACH ROW EXECUTE FUNCTION routing_refuse_change();
CREATE TRIGGER routing_decision_no_truncate BEFORE TRUNCATE ON routing_routingdecision
    FOR EACH STATEMENT EXECUTE FUNCTION routing_refuse_change();

-- A rule or a decision of one workspace can never name an account of another.
ALTER TABLE routing_routingrule ADD CONSTRAINT routing_rule_account_of_workspace
    FOREIGN KEY (workspace_id, account_id) REFERENCES routing_provideraccount (workspace_id, id);
ALTER TABLE routing_routingdecision ADD CONSTRAINT routing_decision_account_of_workspace
    FOREIGN KEY (workspace_id, chosen_account_id) REFERENCES routing_provideraccount (workspace_id, id);
