-- What quotas and budgets have counted: one row per account, written down within a second of a change. `key` names policy,
-- unit, period and bucket; amounts are calls, tokens or picodollars.
CREATE TABLE quota_account (
    key      TEXT PRIMARY KEY CHECK (key <> ''),
    begin_ms INTEGER NOT NULL,
    end_ms   INTEGER NOT NULL,
    spent    INTEGER NOT NULL CHECK (spent >= 0)
) STRICT, WITHOUT ROWID;

-- What models were used for, by day (days since 1970-01-01, UTC). An empty team or consumer is none.
CREATE TABLE usage_day (
    day                INTEGER NOT NULL,
    team               TEXT NOT NULL,
    consumer           TEXT NOT NULL,
    model              TEXT NOT NULL,
    requests           INTEGER NOT NULL,
    failed             INTEGER NOT NULL,
    input              INTEGER NOT NULL,
    cached             INTEGER NOT NULL,
    output             INTEGER NOT NULL,
    reasoning          INTEGER NOT NULL,
    cost_pico          INTEGER NOT NULL,
    unpriced           INTEGER NOT NULL,
    estimated          INTEGER NOT NULL,
    fallbacks          INTEGER NOT NULL,
    answered           INTEGER NOT NULL,
    first_token_micros INTEGER NOT NULL,
    PRIMARY KEY (day, team, consumer, model)
) STRICT, WITHOUT ROWID;
