-- The private keys of this server's own certificates. Never in the log, never in a read model, never given out.
CREATE SCHEMA secrets;

REVOKE ALL ON SCHEMA secrets FROM PUBLIC;

CREATE TABLE secrets.private_key (
    public_key text PRIMARY KEY,
    pem text NOT NULL,
    kept_at timestamptz NOT NULL DEFAULT now()
);
