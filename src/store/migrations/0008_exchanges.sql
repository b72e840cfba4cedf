-- The answers of a conversation as they arrive. An attempt is stored when its conversation is over; until then these are what
-- was paid for, and a sweep that is resumed goes on from them. Those whose attempt is stored are deleted when the sweep ends.
CREATE TABLE exchanges (
    sweep         TEXT   NOT NULL REFERENCES sweeps (id) ON DELETE CASCADE,
    endpoint      TEXT   NOT NULL,
    suite         TEXT   NOT NULL,
    case_id       TEXT   NOT NULL,
    epoch         BIGINT NOT NULL,
    number        BIGINT NOT NULL,
    started_at_us BIGINT NOT NULL,
    ttft_us       BIGINT,
    total_us      BIGINT NOT NULL,
    cost_nanousd  BIGINT NOT NULL,
    tries         TEXT   NOT NULL,
    codec         BIGINT NOT NULL,
    bytes         BYTEA  NOT NULL,
    PRIMARY KEY (sweep, endpoint, suite, case_id, epoch, number)
);
CREATE INDEX exchanges_by_time ON exchanges (started_at_us);
