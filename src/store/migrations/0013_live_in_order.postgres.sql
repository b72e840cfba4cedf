-- Only SQLite can keep a table in the order of its key.
SELECT 1;
