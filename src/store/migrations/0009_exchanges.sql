-- What an attempt asked besides its case: the votes of judges; and its own answer, until the attempt is stored. Written as
-- soon as it is there, so that nothing that was paid for is asked again.
CREATE TABLE exchanges (
    sweep         TEXT   NOT NULL REFERENCES sweeps (id) ON DELETE CASCADE,
    endpoint      TEXT   NOT NULL,
    suite         TEXT   NOT NULL,
    case_id       TEXT   NOT NULL,
    epoch         BIGINT NOT NULL,
    part          TEXT   NOT NULL,
    tries         TEXT   NOT NULL,
    started_at_us BIGINT NOT NULL,
    ttft_us       BIGINT,
    total_us      BIGINT NOT NULL,
    cost_nanousd  BIGINT NOT NULL,
    codec         BIGINT NOT NULL,
    bytes         BYTEA  NOT NULL,
    PRIMARY KEY (sweep, endpoint, suite, case_id, epoch, part)
);
