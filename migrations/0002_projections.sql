-- Where each read model stands: its schema, its position, and the facts it could not take.
CREATE SCHEMA reading;

CREATE TABLE reading.projection (
    name text NOT NULL,
    schema_name text NOT NULL PRIMARY KEY,
    version integer NOT NULL,
    active boolean NOT NULL DEFAULT false,
    position bigint NOT NULL DEFAULT 0
);

CREATE UNIQUE INDEX projection_active_idx ON reading.projection (name) WHERE active;

CREATE TABLE reading.parked (
    schema_name text NOT NULL REFERENCES reading.projection ON DELETE CASCADE,
    position bigint NOT NULL,
    error text NOT NULL,
    parked_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (schema_name, position)
);
