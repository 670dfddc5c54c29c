-- When somebody reported that a key has leaked; it was revoked with it.
ALTER TABLE api_key ADD COLUMN leaked_at_ms INTEGER;
CREATE INDEX api_key_by_end ON api_key (expires_at_ms) WHERE expires_at_ms IS NOT NULL AND revoked_at_ms IS NULL;

-- What is to be told, written in the transaction of what it tells of. `id` is the idempotency key: the same event, channel
-- and recipient make the same id, so nothing is told twice, and a receiver knows a repeat. `body` is sealed.
-- A row that is being sent is due again after its lease, so that a crash loses nothing.
CREATE TABLE notice (
    id            TEXT PRIMARY KEY NOT NULL,
    channel       TEXT NOT NULL,
    event         TEXT NOT NULL,
    about         TEXT NOT NULL,
    body          BLOB NOT NULL,
    created_at_ms INTEGER NOT NULL,
    next_at_ms    INTEGER NOT NULL,
    attempts      INTEGER NOT NULL DEFAULT 0,
    state         TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'sent', 'dead')),
    ended_at_ms   INTEGER,
    error         TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX notice_due ON notice (next_at_ms) WHERE state = 'waiting';
CREATE INDEX notice_by_creation ON notice (created_at_ms, id);

-- One-time links by which owners take over the successors of their keys. Never the token, only its SHA-256. The successor
-- is made by the claim: before it there is no key that anybody could use.
CREATE TABLE key_claim (
    token         BLOB PRIMARY KEY NOT NULL CHECK (length(token) = 32),
    key           TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL,
    claimed_at_ms INTEGER,
    successor     TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX key_claim_by_key ON key_claim (key, created_at_ms);

-- What AlertPolicies found. `id` is of policy, signal and group: an alert that fires again is the same row.
CREATE TABLE alert (
    id            TEXT PRIMARY KEY NOT NULL,
    policy        TEXT NOT NULL,
    signal        TEXT NOT NULL,
    grouping      TEXT NOT NULL,
    text          TEXT NOT NULL,
    state         TEXT NOT NULL CHECK (state IN ('firing', 'recovered')),
    count         INTEGER NOT NULL,
    round         INTEGER NOT NULL,
    started_at_ms INTEGER NOT NULL,
    last_at_ms    INTEGER NOT NULL,
    told_at_ms    INTEGER,
    ended_at_ms   INTEGER
) STRICT;
CREATE INDEX alert_by_time ON alert (last_at_ms, id);

-- What is not to be told for a while; an empty column matches everything.
CREATE TABLE alert_silence (
    id            TEXT PRIMARY KEY NOT NULL,
    policy        TEXT NOT NULL,
    signal        TEXT NOT NULL,
    grouping      TEXT NOT NULL,
    until_ms      INTEGER NOT NULL,
    reason        TEXT NOT NULL,
    created_by    TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL
) STRICT;
