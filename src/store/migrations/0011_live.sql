-- Live traffic, counted. A series is an endpoint and a stratum ('tools-short'); model and endpoint are '' where they are not
-- known. id is a hash of the three.
CREATE TABLE live_series (
    id       BIGINT NOT NULL PRIMARY KEY,
    model    TEXT   NOT NULL,
    endpoint TEXT   NOT NULL,
    stratum  TEXT   NOT NULL,
    UNIQUE (model, endpoint, stratum)
);

-- What was counted of a series in a minute, an hour or a day. What several processes counted of the same span stands in
-- several parts: their sum is what happened.
CREATE TABLE live_cells (
    series   BIGINT NOT NULL REFERENCES live_series (id) ON DELETE CASCADE,
    width_s  BIGINT NOT NULL CHECK (width_s IN (60, 3600, 86400)),
    start_us BIGINT NOT NULL,
    part     BIGINT NOT NULL,
    bytes    BYTEA  NOT NULL,
    PRIMARY KEY (series, width_s, start_us, part)
);
