-- The cells of a series lie side by side. In a table with row numbers they lay in the order in which they were written, each
-- on a page of its own beside those of all other endpoints: a year of one endpoint was as many pages as it has days.
CREATE TABLE live_cells_in_order (
    series   BIGINT NOT NULL REFERENCES live_series (id) ON DELETE CASCADE,
    width_s  BIGINT NOT NULL CHECK (width_s IN (60, 3600, 86400)),
    start_us BIGINT NOT NULL,
    part     BIGINT NOT NULL,
    bytes    BYTEA  NOT NULL,
    PRIMARY KEY (series, width_s, start_us, part)
) WITHOUT ROWID;
INSERT INTO live_cells_in_order SELECT series, width_s, start_us, part, bytes FROM live_cells
    ORDER BY series, width_s, start_us, part;
DROP TABLE live_cells;
ALTER TABLE live_cells_in_order RENAME TO live_cells;
