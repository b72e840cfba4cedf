-- What consumers say they run: the last word of each client about each list. model is '' for what is about all models,
-- capability for a model's own list; adopted is the version that was adopted last.
CREATE TABLE acks (
    client     TEXT   NOT NULL,
    model      TEXT   NOT NULL,
    capability TEXT   NOT NULL,
    version    BIGINT NOT NULL,
    status     TEXT   NOT NULL CHECK (status IN ('adopted', 'rejected')),
    detail     TEXT   NOT NULL,
    token      TEXT   NOT NULL,
    adopted    BIGINT,
    at_us      BIGINT NOT NULL,
    PRIMARY KEY (client, model, capability)
);

-- What webhooks are to be told, written in the transaction of what it is about. subject is the id of the decision or
-- alarm; mark_us grows with every step of a model even when the clock goes back.
CREATE TABLE outbox (
    id      TEXT   NOT NULL PRIMARY KEY,
    kind    TEXT   NOT NULL CHECK (kind IN ('decision', 'alarm_opened', 'alarm_closed')),
    subject TEXT   NOT NULL,
    model   TEXT   NOT NULL,
    mark_us BIGINT NOT NULL,
    at_us   BIGINT NOT NULL
);
CREATE INDEX outbox_in_order ON outbox (mark_us, id);

-- What a webhook has been told, or given up.
CREATE TABLE deliveries (
    webhook TEXT   NOT NULL,
    event   TEXT   NOT NULL REFERENCES outbox (id) ON DELETE CASCADE,
    outcome TEXT   NOT NULL CHECK (outcome IN ('delivered', 'given_up', 'skipped')),
    at_us   BIGINT NOT NULL,
    PRIMARY KEY (webhook, event)
);

-- Work that one process does at a time.
CREATE TABLE leases (
    name     TEXT   NOT NULL PRIMARY KEY,
    owner    TEXT   NOT NULL,
    until_us BIGINT NOT NULL
);
