"""The catalogue's tables. ``attributes`` hold the level's DICOM JSON; columns are what is searched by index."""

TABLES = """
CREATE TABLE patient (
    patient_key text PRIMARY KEY,
    patient_id text COLLATE "C",
    patient_name text COLLATE "C",
    patient_name_groups boolean NOT NULL,
    patient_birth_date text COLLATE "C",
    patient_attributes jsonb NOT NULL
);

CREATE INDEX patient_id_idx ON patient (patient_id);
CREATE INDEX patient_name_idx ON patient (patient_name);
CREATE INDEX patient_name_groups_idx ON patient (patient_key) WHERE patient_name_groups;
CREATE INDEX patient_birth_date_idx ON patient (patient_birth_date);

CREATE TABLE study (
    study_instance_uid text PRIMARY KEY,
    patient_key text NOT NULL,
    patient_id text COLLATE "C",
    patient_name text COLLATE "C",
    patient_name_groups boolean NOT NULL,
    patient_birth_date text COLLATE "C",
    patient_attributes jsonb NOT NULL,
    study_date text COLLATE "C",
    accession_number text COLLATE "C",
    attributes jsonb NOT NULL,
    number_of_series integer NOT NULL DEFAULT 0,
    number_of_instances integer NOT NULL DEFAULT 0,
    modalities text[] NOT NULL DEFAULT '{}',
    sop_classes text[] NOT NULL DEFAULT '{}'
);

CREATE INDEX study_patient_key_idx ON study (patient_key);
CREATE INDEX study_patient_id_idx ON study (patient_id);
CREATE INDEX study_patient_name_idx ON study (patient_name);
CREATE INDEX study_patient_name_groups_idx ON study (study_instance_uid) WHERE patient_name_groups;
CREATE INDEX study_birth_date_idx ON study (patient_birth_date);
CREATE INDEX study_date_idx ON study (study_date);
CREATE INDEX study_accession_idx ON study (accession_number);

CREATE TABLE series (
    study_instance_uid text NOT NULL,
    series_instance_uid text NOT NULL,
    modality text,
    attributes jsonb NOT NULL,
    number_of_instances integer NOT NULL DEFAULT 0,
    sop_classes text[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (study_instance_uid, series_instance_uid)
);

CREATE INDEX series_uid_idx ON series (series_instance_uid);

CREATE TABLE instance (
    sop_instance_uid text PRIMARY KEY,
    study_instance_uid text NOT NULL,
    series_instance_uid text NOT NULL,
    sop_class_uid text NOT NULL,
    instance_number bigint,
    digest text NOT NULL,
    size bigint NOT NULL,
    header_size integer NOT NULL,
    transfer_syntax_uid text NOT NULL,
    storage text NOT NULL,
    path text NOT NULL,
    attributes jsonb NOT NULL
);

CREATE INDEX instance_series_idx ON instance (study_instance_uid, series_instance_uid) INCLUDE (sop_class_uid);
"""
