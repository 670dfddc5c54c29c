-- Tokens of the management API. The text is shown once; kept is the SHA-256 of its 256 random bits, for which a slow hash
-- would protect nothing. Times are Unix milliseconds.
CREATE TABLE management_token (
    id            TEXT PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    hash          BLOB NOT NULL CHECK (length(hash) = 32),
    name          TEXT NOT NULL CHECK (name <> ''),
    role          TEXT NOT NULL CHECK (role <> ''),
    created_at_ms INTEGER NOT NULL,
    created_by    TEXT NOT NULL,
    expires_at_ms INTEGER,
    revoked_at_ms INTEGER,
    last_used_ms  INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX management_token_by_creation ON management_token (created_at_ms, id);

-- What was done through management, in order; each row's hash is over the row and the hash before it, so that a row that
-- was changed or taken out shows.
CREATE TABLE audit (
    number INTEGER PRIMARY KEY NOT NULL CHECK (number > 0),
    at_ms  INTEGER NOT NULL,
    actor  TEXT NOT NULL,
    source TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    phase  TEXT NOT NULL CHECK (phase IN ('begun', 'done', 'refused', 'failed')),
    before TEXT NOT NULL,
    after  TEXT NOT NULL,
    reason TEXT NOT NULL,
    hash   BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;
CREATE TRIGGER audit_kept BEFORE UPDATE ON audit BEGIN SELECT RAISE (ABORT, 'an audit row never changes'); END;
CREATE TRIGGER audit_stays BEFORE DELETE ON audit BEGIN SELECT RAISE (ABORT, 'an audit row is never deleted'); END;
