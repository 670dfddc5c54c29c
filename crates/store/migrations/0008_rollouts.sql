-- A rollout: a candidate beside the revision that was active when it began. What was asked for never changes; `phase`,
-- `step`, `since_ms`, `looks` and `why` are compared and swapped by whoever moves it on. Times are Unix milliseconds.
CREATE TABLE rollout (
    number        INTEGER PRIMARY KEY NOT NULL CHECK (number > 0),
    candidate     INTEGER NOT NULL REFERENCES revision (number),
    base          INTEGER NOT NULL REFERENCES revision (number),
    plan          TEXT NOT NULL,
    salt          BLOB NOT NULL CHECK (length(salt) = 16),
    author        TEXT NOT NULL CHECK (author <> ''),
    reason        TEXT NOT NULL CHECK (reason <> ''),
    created_at_ms INTEGER NOT NULL,
    phase         TEXT NOT NULL CHECK (phase IN ('shadow', 'share', 'paused', 'proved', 'promoted', 'aborted', 'rolled back')),
    step          INTEGER,
    since_ms      INTEGER NOT NULL,
    looks         INTEGER NOT NULL DEFAULT 0
) STRICT;

-- At most one is under way.
CREATE UNIQUE INDEX rollout_open ON rollout ((1)) WHERE phase IN ('shadow', 'share', 'paused', 'proved');

CREATE TRIGGER rollout_stays BEFORE DELETE ON rollout BEGIN SELECT RAISE (ABORT, 'a rollout is never deleted'); END;
CREATE TRIGGER rollout_kept BEFORE UPDATE OF number, candidate, base, plan, salt, author, reason, created_at_ms ON rollout
BEGIN SELECT RAISE (ABORT, 'what was asked for never changes'); END;

-- Its moves, in order: what it became, by whom, and why.
CREATE TABLE rollout_move (
    rollout INTEGER NOT NULL REFERENCES rollout (number),
    number  INTEGER NOT NULL,
    phase   TEXT NOT NULL,
    step    INTEGER,
    at_ms   INTEGER NOT NULL,
    actor   TEXT NOT NULL,
    why     TEXT NOT NULL,
    PRIMARY KEY (rollout, number)
) STRICT, WITHOUT ROWID;

-- What each gateway saw in each step, as JSON; replaced as it grows, and begun from when a gateway restarts. The step of
-- the shadow is -1.
CREATE TABLE rollout_tally (
    rollout INTEGER NOT NULL REFERENCES rollout (number),
    step    INTEGER NOT NULL,
    gateway TEXT NOT NULL,
    tally   TEXT NOT NULL,
    at_ms   INTEGER NOT NULL,
    PRIMARY KEY (rollout, step, gateway)
) STRICT, WITHOUT ROWID;
