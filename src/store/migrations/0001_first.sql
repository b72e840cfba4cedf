-- One text for SQLite and PostgreSQL (the subset at the head of store/mod.rs). BYTEA is what PostgreSQL calls a blob;
-- SQLite gives the word NUMERIC affinity, which leaves blobs as they are.

CREATE TABLE meta (
    key   TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);
INSERT INTO meta (key, value) VALUES ('application', 'exactod');

-- The identity of a suite is its digest, its label the revision: one label never means two contents.
CREATE TABLE suites (
    name        TEXT   NOT NULL,
    revision    TEXT   NOT NULL,
    digest      TEXT   NOT NULL,
    seen_at_us  BIGINT NOT NULL,
    case_hashes TEXT   NOT NULL,
    PRIMARY KEY (name, revision)
);

CREATE TABLE sweeps (
    id               TEXT   NOT NULL PRIMARY KEY,
    model            TEXT   NOT NULL,
    ordinal          BIGINT NOT NULL,
    kind             TEXT   NOT NULL CHECK (kind IN ('scheduled', 'manual', 'full')),
    state            TEXT   NOT NULL CHECK (state IN ('running', 'done', 'closed')),
    plan             TEXT,
    planned_at_us    BIGINT NOT NULL,
    finished_at_us   BIGINT,
    reserved_nanousd BIGINT NOT NULL,
    spent_nanousd    BIGINT NOT NULL,
    lease_owner      TEXT,
    lease_until_us   BIGINT,
    fence            BIGINT NOT NULL,
    note             TEXT   NOT NULL,
    UNIQUE (model, ordinal)
);
CREATE INDEX sweeps_running ON sweeps (state, model);

-- A tick of a schedule happens once, however many daemons see it.
CREATE TABLE fires (
    schedule   TEXT   NOT NULL,
    fire_at_us BIGINT NOT NULL,
    model      TEXT   NOT NULL,
    sweep      TEXT,
    note       TEXT   NOT NULL,
    PRIMARY KEY (schedule, fire_at_us, model)
);
CREATE INDEX fires_latest ON fires (schedule, model, fire_at_us);

CREATE TABLE attempts (
    id               TEXT    NOT NULL PRIMARY KEY,
    sweep            TEXT    NOT NULL REFERENCES sweeps (id),
    endpoint         TEXT    NOT NULL,
    suite            TEXT    NOT NULL,
    case_id          TEXT    NOT NULL,
    epoch            BIGINT  NOT NULL,
    model            TEXT    NOT NULL,
    verdict          TEXT    NOT NULL CHECK (verdict IN ('pass', 'fail', 'unscored')),
    why              TEXT             CHECK (why IN ('provider', 'ours', 'provenance')),
    score            DOUBLE PRECISION,
    fault            TEXT,
    secondary        TEXT    NOT NULL,
    error_type       TEXT,
    explanation      TEXT    NOT NULL,
    tries            TEXT    NOT NULL,
    first_try_ok     BOOLEAN NOT NULL,
    delivered        BOOLEAN NOT NULL,
    started_at_us    BIGINT  NOT NULL,
    ttft_us          BIGINT,
    total_us         BIGINT  NOT NULL,
    tokens_in        BIGINT,
    tokens_out       BIGINT,
    tokens_reasoning BIGINT,
    cost_nanousd     BIGINT  NOT NULL,
    finish_reason    TEXT,
    draw             TEXT,
    UNIQUE (sweep, endpoint, suite, case_id, epoch)
);
CREATE INDEX attempts_window ON attempts (model, started_at_us);

CREATE TABLE transcripts (
    attempt TEXT   NOT NULL PRIMARY KEY REFERENCES attempts (id) ON DELETE CASCADE,
    codec   BIGINT NOT NULL,
    bytes   BYTEA  NOT NULL
);

-- The curation state of a model: opaque here. seq counts from 1; the newest and the one before are kept.
CREATE TABLE states (
    model TEXT   NOT NULL,
    seq   BIGINT NOT NULL,
    sweep TEXT,
    at_us BIGINT NOT NULL,
    bytes BYTEA  NOT NULL,
    PRIMARY KEY (model, seq)
);

CREATE TABLE decisions (
    id            TEXT   NOT NULL PRIMARY KEY,
    model         TEXT   NOT NULL,
    endpoint      TEXT   NOT NULL,
    sweep         TEXT,
    at_us         BIGINT NOT NULL,
    kind          TEXT   NOT NULL,
    from_standing TEXT   NOT NULL,
    to_standing   TEXT   NOT NULL,
    suite         TEXT,
    reason        TEXT   NOT NULL,
    evidence      TEXT   NOT NULL
);
CREATE INDEX decisions_of_model ON decisions (model, id);

CREATE TABLE allowlists (
    model         TEXT   NOT NULL,
    revision      BIGINT NOT NULL CHECK (revision >= 1),
    issued_at_us  BIGINT NOT NULL,
    expires_at_us BIGINT NOT NULL,
    mode          TEXT   NOT NULL CHECK (mode IN ('normal', 'frozen', 'bootstrap')),
    document      TEXT   NOT NULL,
    etag          TEXT   NOT NULL,
    sweep         TEXT,
    PRIMARY KEY (model, revision)
);

-- model and endpoint are '' when an alarm concerns no single one: NULLs would all differ in a unique index.
CREATE TABLE alarms (
    id           TEXT   NOT NULL PRIMARY KEY,
    model        TEXT   NOT NULL,
    endpoint     TEXT   NOT NULL,
    kind         TEXT   NOT NULL,
    text         TEXT   NOT NULL,
    opened_at_us BIGINT NOT NULL,
    closed_at_us BIGINT
);
CREATE UNIQUE INDEX alarms_open ON alarms (model, endpoint, kind) WHERE closed_at_us IS NULL;
