-- People who manage the gateway. `password` is an Argon2id hash in the PHC format, or nothing where none was set; `issuer`
-- and `subject` name somebody whom an OpenID provider proves. `scope` is JSON that the management API reads; empty: the
-- whole role. A user is disabled, never deleted: the audit trail names them. Times are Unix milliseconds.
CREATE TABLE management_user (
    id             TEXT PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    name           TEXT NOT NULL UNIQUE CHECK (name <> ''),
    role           TEXT NOT NULL CHECK (role <> ''),
    scope          TEXT NOT NULL DEFAULT '',
    password       TEXT,
    issuer         TEXT,
    subject        TEXT,
    created_at_ms  INTEGER NOT NULL,
    created_by     TEXT NOT NULL,
    disabled_at_ms INTEGER,
    login_at_ms    INTEGER,
    UNIQUE (issuer, subject),
    CHECK ((issuer IS NULL) = (subject IS NULL))
) STRICT, WITHOUT ROWID;

-- Who is signed in: the SHA-256 of 256 random bits that only the browser has.
CREATE TABLE management_session (
    id            TEXT PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    hash          BLOB NOT NULL CHECK (length(hash) = 32),
    user          TEXT NOT NULL REFERENCES management_user (id),
    address       TEXT NOT NULL,
    agent         TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    seen_at_ms    INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL,
    ended_at_ms   INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX management_session_by_user ON management_session (user, created_at_ms);

-- Links that set a password once. Without a user it makes the first one.
CREATE TABLE management_link (
    id            TEXT PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    hash          BLOB NOT NULL CHECK (length(hash) = 32),
    user          TEXT REFERENCES management_user (id),
    created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL,
    spent_at_ms   INTEGER
) STRICT, WITHOUT ROWID;

-- What a token may be narrowed to, and whose it is: a personal one ends with its user.
ALTER TABLE management_token ADD COLUMN scope TEXT NOT NULL DEFAULT '';
ALTER TABLE management_token ADD COLUMN user TEXT REFERENCES management_user (id);
