-- Sweeps between the ticks while an endpoint waits for its first standing. A check cannot be widened in SQLite: the column
-- is replaced.
ALTER TABLE sweeps ADD COLUMN asked_by TEXT NOT NULL DEFAULT 'scheduled'
    CHECK (asked_by IN ('scheduled', 'onboarding', 'manual', 'full'));
UPDATE sweeps SET asked_by = kind;
ALTER TABLE sweeps DROP COLUMN kind;
ALTER TABLE sweeps RENAME COLUMN asked_by TO kind;
