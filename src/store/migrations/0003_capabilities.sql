-- Lists per capability. A list is known by model and capability; '' is the model's own. seq is the step that published
-- it, NULL for lists from before there was a history. A primary key cannot be altered in both databases: the table is
-- made anew.
CREATE TABLE allowlists_by_capability (
    model         TEXT   NOT NULL,
    capability    TEXT   NOT NULL DEFAULT '',
    revision      BIGINT NOT NULL CHECK (revision >= 1),
    issued_at_us  BIGINT NOT NULL,
    expires_at_us BIGINT NOT NULL,
    mode          TEXT   NOT NULL CHECK (mode IN ('normal', 'frozen', 'bootstrap')),
    document      TEXT   NOT NULL,
    etag          TEXT   NOT NULL,
    sweep         TEXT,
    seq           BIGINT,
    PRIMARY KEY (model, capability, revision)
);
INSERT INTO allowlists_by_capability
    (model, capability, revision, issued_at_us, expires_at_us, mode, document, etag, sweep, seq)
SELECT a.model, '', a.revision, a.issued_at_us, a.expires_at_us, a.mode, a.document, a.etag, a.sweep,
       (SELECT MAX(h.seq) FROM history h WHERE h.model = a.model AND h.revision = a.revision)
FROM allowlists a;
DROP TABLE allowlists;
ALTER TABLE allowlists_by_capability RENAME TO allowlists;
CREATE INDEX allowlists_of_step ON allowlists (model, seq);

-- NULL: the decision concerns the model's own list.
ALTER TABLE decisions ADD COLUMN capability TEXT;

-- '' when an alarm concerns no capability, as with model and endpoint.
ALTER TABLE alarms ADD COLUMN capability TEXT NOT NULL DEFAULT '';
DROP INDEX alarms_open;
CREATE UNIQUE INDEX alarms_open ON alarms (model, capability, endpoint, kind) WHERE closed_at_us IS NULL;
