-- Stored answers judged again by another digest of their suite: a series of its own, never in place of the first verdict.
CREATE TABLE rescored (
    attempt        TEXT   NOT NULL REFERENCES attempts (id) ON DELETE CASCADE,
    digest         TEXT   NOT NULL,
    verdict        TEXT   NOT NULL CHECK (verdict IN ('pass', 'fail', 'unscored')),
    why            TEXT            CHECK (why IN ('provider', 'ours', 'provenance')),
    score          DOUBLE PRECISION,
    fault          TEXT,
    secondary      TEXT   NOT NULL,
    error_type     TEXT,
    explanation    TEXT   NOT NULL,
    rescored_at_us BIGINT NOT NULL,
    PRIMARY KEY (attempt, digest)
);
