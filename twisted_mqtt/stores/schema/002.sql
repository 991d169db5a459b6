-- Version 2: a row for what is written together, not for each message; stores/packing.py says how it lies in it. What
-- version 1 had in the tables "message" and "entry" is packed by stores/upgrading.py, which then drops them.

-- Messages that several entries want, each once; the last entry takes its parcel with it.
CREATE TABLE parcel (
    id INTEGER PRIMARY KEY,
    total INTEGER NOT NULL,  -- messages
    wanted INTEGER NOT NULL,  -- by so many entries
    messages BLOB NOT NULL
);

-- Some entries of one session that came one after another: what waits for a client or is in flight to it. They lie in the
-- order of their writing, so that a batch goes to a few pages and not to some of each session. The small columns come
-- first: they are read without the others.
CREATE TABLE run (
    id INTEGER PRIMARY KEY,
    session INTEGER NOT NULL,
    first INTEGER NOT NULL,  -- numbers of the first and last entry
    last INTEGER NOT NULL,
    total INTEGER NOT NULL,  -- entries
    flying INTEGER NOT NULL,  -- of them in flight when they were written
    parcel INTEGER NOT NULL,  -- where those messages are that are not here; 0 where all are
    shared INTEGER NOT NULL,  -- entries whose message is there
    size INTEGER NOT NULL,  -- bytes to be delivered, roughly
    extras TEXT,  -- JSON: [position, subscription identifiers, share]
    entries BLOB NOT NULL,
    messages BLOB NOT NULL
);

CREATE UNIQUE INDEX run_session ON run (session, first);
CREATE INDEX run_parcel ON run (parcel) WHERE parcel > 0;

-- Which entries of a run are settled, as far as not all are.
CREATE TABLE gone (
    run INTEGER PRIMARY KEY,
    total INTEGER NOT NULL,
    shared INTEGER NOT NULL,  -- of them with a message in the parcel
    entries BLOB NOT NULL  -- how far each is from the first
);

-- What has become of entries since they were written.
CREATE TABLE flight (
    session INTEGER NOT NULL,
    number INTEGER NOT NULL,
    packet INTEGER NOT NULL,
    flags INTEGER NOT NULL,  -- 8 PUBREC has come
    PRIMARY KEY (session, number)
) WITHOUT ROWID;
