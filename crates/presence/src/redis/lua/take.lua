#!lua flags=allow-oom
-- A node takes it upon itself to reap another one, unless somebody else has. A script only because a full Redis refuses a
-- bare SET.
--
-- KEYS[1]  who reaps
-- ARGV[1]  milliseconds that this holds without another word
-- ARGV[2]  the reaper
-- Returns 1 if it is taken, else 0.
return redis.call('SET', KEYS[1], ARGV[2], 'NX', 'PX', ARGV[1]) and 1 or 0
