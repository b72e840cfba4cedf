-- The start of an answer to one of the program's own prompts that are asked at a temperature above 0: what sampled answers are
-- compared by. NULL for all other prompts and cases, and for what came before.
ALTER TABLE attempts ADD COLUMN sampled TEXT;
