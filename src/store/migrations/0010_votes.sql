-- Judges: what an attempt asks besides its case is kept with the answers of conversations. role and number take the place of
-- number alone: step (its number), answer (0; under examination until its attempt is stored), vote (its scorer and number;
-- they stay beside the attempt).
CREATE TABLE exchanges_of_roles (
    sweep         TEXT   NOT NULL REFERENCES sweeps (id) ON DELETE CASCADE,
    endpoint      TEXT   NOT NULL,
    suite         TEXT   NOT NULL,
    case_id       TEXT   NOT NULL,
    epoch         BIGINT NOT NULL,
    role          TEXT   NOT NULL CHECK (role IN ('step', 'answer', 'vote')),
    scorer        BIGINT NOT NULL,
    number        BIGINT NOT NULL,
    started_at_us BIGINT NOT NULL,
    ttft_us       BIGINT,
    total_us      BIGINT NOT NULL,
    cost_nanousd  BIGINT NOT NULL,
    tries         TEXT   NOT NULL,
    codec         BIGINT NOT NULL,
    bytes         BYTEA  NOT NULL,
    PRIMARY KEY (sweep, endpoint, suite, case_id, epoch, role, scorer, number)
);
INSERT INTO exchanges_of_roles (sweep, endpoint, suite, case_id, epoch, role, scorer, number, started_at_us, ttft_us, total_us,
    cost_nanousd, tries, codec, bytes)
    SELECT sweep, endpoint, suite, case_id, epoch, 'step', 0, number, started_at_us, ttft_us, total_us,
    cost_nanousd, tries, codec, bytes FROM exchanges;
DROP TABLE exchanges;
ALTER TABLE exchanges_of_roles RENAME TO exchanges;
CREATE INDEX exchanges_by_time ON exchanges (started_at_us);
