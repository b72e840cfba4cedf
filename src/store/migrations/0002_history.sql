-- The history of each model's curation: for every state what it was made from, so that it can be made again.

-- What the configuration said, once per content.
CREATE TABLE settings (
    digest TEXT NOT NULL PRIMARY KEY,
    json   TEXT NOT NULL
);

-- One row per state, with the state's number, written in its transaction; kept for ever. mark_us grows with every step
-- even when the clock (at_us) goes back. sweep is set when one ended.
CREATE TABLE history (
    model        TEXT   NOT NULL,
    seq          BIGINT NOT NULL,
    at_us        BIGINT NOT NULL,
    mark_us      BIGINT NOT NULL,
    kind         TEXT   NOT NULL,
    rules        BIGINT NOT NULL,
    setting      TEXT   NOT NULL REFERENCES settings (digest),
    sweep        TEXT,
    record       TEXT   NOT NULL,
    decisions    BIGINT NOT NULL,
    revision     BIGINT,
    state_digest TEXT   NOT NULL,
    PRIMARY KEY (model, seq)
);
CREATE INDEX history_of_revision ON history (model, revision);

-- States from which a replay can begin, where what came before them cannot be made again.
CREATE TABLE checkpoints (
    model    TEXT   NOT NULL,
    seq      BIGINT NOT NULL,
    at_us    BIGINT NOT NULL,
    revision BIGINT,
    bytes    BYTEA  NOT NULL,
    PRIMARY KEY (model, seq)
);

-- The step that made the decision; NULL for those made before there was a history.
ALTER TABLE decisions ADD COLUMN seq BIGINT;
CREATE INDEX decisions_of_step ON decisions (model, seq);
