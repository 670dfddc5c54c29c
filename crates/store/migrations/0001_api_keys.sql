-- Facts that hold for the whole store. `pepper_fingerprint` tells whether the pepper file beside it is the right one.
CREATE TABLE setting (
    name  TEXT PRIMARY KEY NOT NULL,
    value BLOB NOT NULL
) STRICT;

-- Counts the transactions that changed what a gateway must know about keys. A gateway asks for the rows above the
-- number it has seen. The row is changed inside the writing transaction, so numbers become visible in their order.
CREATE TABLE api_key_change (
    only  INTEGER PRIMARY KEY NOT NULL CHECK (only = 1),
    value INTEGER NOT NULL
) STRICT;
INSERT INTO api_key_change (only, value) VALUES (1, 0);

-- One row per key ever made; revocation is a state, not a deletion. Never the secret, only its keyed hash.
-- Times are Unix milliseconds, except last_used_s in seconds. Saving a last use is no change.
CREATE TABLE api_key (
    id            TEXT PRIMARY KEY NOT NULL CHECK (length(id) = 12),
    consumer      TEXT NOT NULL CHECK (consumer <> ''),
    hash          BLOB NOT NULL CHECK (length(hash) = 32),
    label         TEXT,
    created_at_ms INTEGER NOT NULL,
    created_by    TEXT,
    not_before_ms INTEGER NOT NULL DEFAULT 0,
    expires_at_ms INTEGER,
    revoked_at_ms INTEGER,
    last_used_s   INTEGER NOT NULL DEFAULT 0,
    change        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX api_key_by_change ON api_key (change, id);
CREATE INDEX api_key_by_consumer ON api_key (consumer, created_at_ms, id);
CREATE INDEX api_key_by_creation ON api_key (created_at_ms, id);
