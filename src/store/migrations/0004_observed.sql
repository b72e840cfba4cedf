-- What an answer to one of the program's own prompts shows (a log-probability, or a hash of its start as a whole number):
-- what fingerprints are made from. NULL for the cases of suites, and for what came before.
ALTER TABLE attempts ADD COLUMN observed DOUBLE PRECISION;
