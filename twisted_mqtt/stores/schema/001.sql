-- Version 1. An upgrade is a file with the next number: it is run once, in one transaction, on what the last one has left.

-- What is known of the whole: the node that wrote it, the last batch, when that was.
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;

CREATE TABLE session (
    id INTEGER PRIMARY KEY,
    client TEXT NOT NULL UNIQUE,
    username TEXT,
    mountpoint TEXT NOT NULL,
    expiry INTEGER NOT NULL,  -- seconds after the connection; 4294967295 for ever
    expires_at REAL NOT NULL,  -- 0 while the client is connected, or for ever
    created_at REAL NOT NULL,
    zone TEXT NOT NULL
);

CREATE TABLE subscription (
    session INTEGER NOT NULL,
    filter TEXT NOT NULL,
    flags INTEGER NOT NULL,  -- QoS, 4 no local, 8 retain as published, 16 and 32 retain handling
    identifiers TEXT NOT NULL,  -- separated by blanks
    PRIMARY KEY (session, filter)
) WITHOUT ROWID;

-- Each message once, however many entries point at it; with the last of them it goes.
CREATE TABLE message (
    id INTEGER PRIMARY KEY,
    refs INTEGER NOT NULL,
    topic TEXT NOT NULL,
    flags INTEGER NOT NULL,  -- QoS, 4 retain, 8 of the broker itself
    timestamp REAL NOT NULL,
    expires_at REAL NOT NULL,
    client TEXT NOT NULL,
    username TEXT,
    host TEXT,
    protocol TEXT NOT NULL,
    properties BLOB,
    payload BLOB NOT NULL
);

-- What waits for a client or is in flight to it, oldest first. In one tree by session, so that a page is read in one go.
CREATE TABLE entry (
    session INTEGER NOT NULL,
    number INTEGER NOT NULL,
    message INTEGER NOT NULL,
    flags INTEGER NOT NULL,  -- QoS, 4 retain, 8 PUBREC has come
    packet INTEGER NOT NULL,  -- 0 while it waits
    identifiers TEXT,
    share TEXT,
    PRIMARY KEY (session, number)
) WITHOUT ROWID;

-- QoS 2 messages of a client whose PUBREL has not come.
CREATE TABLE received (
    session INTEGER NOT NULL,
    packet INTEGER NOT NULL,
    since REAL NOT NULL,
    PRIMARY KEY (session, packet)
) WITHOUT ROWID;

CREATE TABLE retained (
    topic TEXT PRIMARY KEY,
    flags INTEGER NOT NULL,
    timestamp REAL NOT NULL,
    expires_at REAL NOT NULL,
    client TEXT NOT NULL,
    username TEXT,
    host TEXT,
    protocol TEXT NOT NULL,
    properties BLOB,
    payload BLOB NOT NULL
);

CREATE TABLE will (
    owner TEXT PRIMARY KEY,
    due REAL NOT NULL,  -- 0 while the client is connected
    delay REAL NOT NULL,
    topic TEXT NOT NULL,
    flags INTEGER NOT NULL,
    timestamp REAL NOT NULL,
    expires_at REAL NOT NULL,
    client TEXT NOT NULL,
    username TEXT,
    host TEXT,
    protocol TEXT NOT NULL,
    properties BLOB,
    payload BLOB NOT NULL
);

CREATE TABLE delayed (
    number INTEGER PRIMARY KEY,
    due REAL NOT NULL,
    topic TEXT NOT NULL,
    flags INTEGER NOT NULL,
    timestamp REAL NOT NULL,
    expires_at REAL NOT NULL,
    client TEXT NOT NULL,
    username TEXT,
    host TEXT,
    protocol TEXT NOT NULL,
    properties BLOB,
    payload BLOB NOT NULL
);

CREATE TABLE ban (
    kind TEXT NOT NULL,
    who TEXT NOT NULL,
    reason TEXT NOT NULL,
    by TEXT NOT NULL,
    at REAL NOT NULL,
    until REAL NOT NULL,
    PRIMARY KEY (kind, who)
) WITHOUT ROWID;
