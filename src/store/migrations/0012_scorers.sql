-- What each scorer of a case says, a JSON array; NULL where there is but one, which the verdict tells of.
ALTER TABLE attempts ADD COLUMN scorers TEXT;
