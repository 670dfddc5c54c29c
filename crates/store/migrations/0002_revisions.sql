-- A text of a set of documents, kept once however many revisions have it.
CREATE TABLE revision_text (
    id     INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
    text   TEXT NOT NULL
) STRICT;

-- One row per revision ever made, numbered from 1. `digest` is over all names and texts, so two revisions with the same
-- documents have the same one. `restores` is the revision that a rollback repeats. Times are Unix milliseconds.
CREATE TABLE revision (
    number        INTEGER PRIMARY KEY NOT NULL CHECK (number > 0),
    digest        BLOB NOT NULL CHECK (length(digest) = 32),
    parent        INTEGER REFERENCES revision (number),
    restores      INTEGER REFERENCES revision (number),
    author        TEXT NOT NULL CHECK (author <> ''),
    reason        TEXT NOT NULL CHECK (reason <> ''),
    created_at_ms INTEGER NOT NULL,
    files         INTEGER NOT NULL,
    documents     INTEGER NOT NULL,
    bytes         INTEGER NOT NULL
) STRICT;
CREATE INDEX revision_by_digest ON revision (digest, number);

-- The texts of a revision under their names, in the order in which they are read.
CREATE TABLE revision_file (
    revision INTEGER NOT NULL REFERENCES revision (number),
    position INTEGER NOT NULL,
    name     TEXT NOT NULL CHECK (name <> ''),
    text     INTEGER NOT NULL REFERENCES revision_text (id),
    PRIMARY KEY (revision, position)
) STRICT, WITHOUT ROWID;

-- What a revision says never changes.
CREATE TRIGGER revision_kept BEFORE UPDATE ON revision BEGIN SELECT RAISE (ABORT, 'a revision never changes'); END;
CREATE TRIGGER revision_stays BEFORE DELETE ON revision BEGIN SELECT RAISE (ABORT, 'a revision is never deleted'); END;
CREATE TRIGGER revision_file_kept BEFORE UPDATE ON revision_file BEGIN SELECT RAISE (ABORT, 'a revision never changes'); END;
CREATE TRIGGER revision_file_stays BEFORE DELETE ON revision_file BEGIN SELECT RAISE (ABORT, 'a revision never changes'); END;
CREATE TRIGGER revision_text_kept BEFORE UPDATE ON revision_text BEGIN SELECT RAISE (ABORT, 'a revision never changes'); END;
CREATE TRIGGER revision_text_stays BEFORE DELETE ON revision_text BEGIN SELECT RAISE (ABORT, 'a revision never changes'); END;

-- The revision that gateways are to serve. Compared and swapped inside the writing transaction.
CREATE TABLE revision_active (
    only   INTEGER PRIMARY KEY NOT NULL CHECK (only = 1),
    number INTEGER REFERENCES revision (number)
) STRICT;
INSERT INTO revision_active (only, number) VALUES (1, NULL);

-- What became of a revision when a gateway took it up: the last time counts.
CREATE TABLE revision_outcome (
    revision INTEGER PRIMARY KEY NOT NULL REFERENCES revision (number),
    outcome  TEXT NOT NULL CHECK (outcome IN ('live', 'failed')),
    detail   TEXT NOT NULL,
    at_ms    INTEGER NOT NULL
) STRICT;
