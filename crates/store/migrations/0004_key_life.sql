-- What became of a key that was replaced. `overlap_until_ms` is the end of the promised overlap; `expires_at_ms` is the
-- end, later where the key may go on until nobody uses it.
ALTER TABLE api_key ADD COLUMN replaced_by TEXT;
ALTER TABLE api_key ADD COLUMN replaced_at_ms INTEGER;
ALTER TABLE api_key ADD COLUMN overlap_until_ms INTEGER;

-- What was told about a key: a state it reached, or a time before it is due. The first process that adds a row tells it;
-- no other does.
CREATE TABLE api_key_event (
    key   TEXT NOT NULL,
    event TEXT NOT NULL CHECK (event <> ''),
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (key, event)
) STRICT, WITHOUT ROWID;
