-- Version 3: bans and delayed messages are records of tables, like all that is kept beside sessions and messages. What
-- version 2 had in "ban" and "delayed" is moved by stores/converting.py, which then drops them.

CREATE TABLE record (
    name TEXT NOT NULL,  -- of the table
    key TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (name, key)
);

-- When the last batch was written: nothing is counted from it any more.
DELETE FROM meta WHERE name = 'seen';
