"""The catalogue's tables. Columns are what is searched by index; ``attributes`` hold the rest, tag to list of values.

Text compares by code point, so that a prefix is a range. ``irregular`` marks the few rows that have more than one value
where a column holds only one: every condition on a column lets them pass, and the matching rules decide.

``name_words`` are the words of the names of patient and physicians as they sound, those of physicians behind their tag;
``name_word`` says which of them there are, under each form that a word one error away shares with it
(:func:`domain.fuzzy_name.shortened`). Words are never taken out.
"""

TABLES = """
CREATE TABLE patient (
    patient_key text COLLATE "C" PRIMARY KEY,
    patient_id text COLLATE "C",
    patient_name text COLLATE "C",
    patient_name_ideographic text COLLATE "C",
    patient_name_phonetic text COLLATE "C",
    patient_birth_date text COLLATE "C",
    irregular boolean NOT NULL,
    patient_attributes jsonb NOT NULL
) WITH (fillfactor = 90);

CREATE INDEX patient_id_idx ON patient (patient_id);
CREATE INDEX patient_name_idx ON patient (patient_name);
CREATE INDEX patient_ideographic_idx ON patient (patient_name_ideographic)
    WHERE patient_name_ideographic IS NOT NULL;
CREATE INDEX patient_phonetic_idx ON patient (patient_name_phonetic) WHERE patient_name_phonetic IS NOT NULL;
CREATE INDEX patient_birth_date_idx ON patient (patient_birth_date);
CREATE INDEX patient_irregular_idx ON patient (patient_key) WHERE irregular;

CREATE TABLE study (
    study_instance_uid text COLLATE "C" PRIMARY KEY,
    patient_key text COLLATE "C" NOT NULL,
    patient_id text COLLATE "C",
    patient_name text COLLATE "C",
    patient_name_ideographic text COLLATE "C",
    patient_name_phonetic text COLLATE "C",
    patient_birth_date text COLLATE "C",
    study_date text COLLATE "C" NOT NULL,
    accession_number text COLLATE "C",
    irregular boolean NOT NULL,
    name_words text[] COLLATE "C" NOT NULL,
    patient_attributes jsonb NOT NULL,
    attributes jsonb NOT NULL,
    number_of_series integer NOT NULL,
    number_of_instances integer NOT NULL,
    modalities text[] NOT NULL,
    sop_classes text[] NOT NULL
) WITH (fillfactor = 80);

CREATE INDEX study_patient_key_idx ON study (patient_key);
CREATE INDEX study_patient_id_idx ON study (patient_id);
CREATE INDEX study_patient_name_idx ON study (patient_name);
CREATE INDEX study_ideographic_idx ON study (patient_name_ideographic) WHERE patient_name_ideographic IS NOT NULL;
CREATE INDEX study_phonetic_idx ON study (patient_name_phonetic) WHERE patient_name_phonetic IS NOT NULL;
CREATE INDEX study_birth_date_idx ON study (patient_birth_date);
CREATE INDEX study_date_idx ON study (study_date, study_instance_uid);
CREATE INDEX study_accession_idx ON study (accession_number);
CREATE INDEX study_irregular_idx ON study (study_instance_uid) WHERE irregular;
CREATE INDEX study_name_words_idx ON study USING gin (name_words) WITH (fastupdate = off);

CREATE TABLE name_word (
    form text COLLATE "C" NOT NULL,
    word text COLLATE "C" NOT NULL,
    PRIMARY KEY (form, word)
);

CREATE TABLE series (
    study_instance_uid text COLLATE "C" NOT NULL,
    series_instance_uid text COLLATE "C" NOT NULL,
    modality text COLLATE "C",
    attributes jsonb NOT NULL,
    number_of_instances integer NOT NULL,
    sop_classes text[] NOT NULL,
    PRIMARY KEY (study_instance_uid, series_instance_uid)
) WITH (fillfactor = 80);

CREATE INDEX series_uid_idx ON series (series_instance_uid);

CREATE TABLE instance (
    sop_instance_uid text COLLATE "C" PRIMARY KEY,
    study_instance_uid text COLLATE "C" NOT NULL,
    series_instance_uid text COLLATE "C" NOT NULL,
    sop_class_uid text COLLATE "C" NOT NULL,
    instance_number bigint,
    digest text NOT NULL,
    size bigint NOT NULL,
    header_size integer NOT NULL,
    transfer_syntax_uid text NOT NULL,
    storage text NOT NULL,
    path text NOT NULL,
    attributes json NOT NULL
);

CREATE INDEX instance_series_idx ON instance (study_instance_uid, series_instance_uid, sop_instance_uid);
"""
