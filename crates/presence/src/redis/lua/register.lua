#!lua flags=allow-oom
-- A node is among the nodes: who is not there is not missed when it dies. A script only because a full Redis refuses a
-- bare HSET.
--
-- KEYS[1]  nodes
-- ARGV[1]  milliseconds that the nodes live without another write
-- ARGV[2]  the name that the node has in this tenure
-- ARGV[3]  what people may want to know of it
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
return redis.call('PEXPIRE', KEYS[1], ARGV[1])
