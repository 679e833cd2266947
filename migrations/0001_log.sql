-- The log and the particulars: what cannot be rebuilt.
CREATE SCHEMA log;

CREATE TYPE log.stored_event_uuid AS (
    originator_id uuid,
    originator_version bigint,
    topic text,
    state bytea
);

CREATE TABLE log.event (
    originator_id uuid NOT NULL,
    originator_version bigint NOT NULL,
    topic text NOT NULL,
    state bytea NOT NULL,
    notification_id bigserial,
    PRIMARY KEY (originator_id, originator_version)
) WITH (
    autovacuum_vacuum_insert_threshold = 1000000,
    autovacuum_analyze_threshold = 10000
);

CREATE UNIQUE INDEX event_notification_id_idx ON log.event (notification_id);

CREATE FUNCTION log.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the log is append-only: % is refused', TG_OP USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON log.event
    FOR EACH STATEMENT EXECUTE FUNCTION log.refuse_change();

CREATE TABLE log.particulars (
    id uuid PRIMARY KEY,
    patient_key uuid NOT NULL,
    salt bytea NOT NULL,
    digest text NOT NULL,
    content jsonb NOT NULL
);

CREATE INDEX particulars_patient_key_idx ON log.particulars (patient_key);
