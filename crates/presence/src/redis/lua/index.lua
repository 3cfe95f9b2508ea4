#!lua flags=allow-oom
-- The node has members in these channels. A script only because a full Redis refuses a bare SADD.
--
-- KEYS[1]  the node's own index
-- ARGV[1]  milliseconds that the index lives without another write
-- ARGV[2]..  channels
redis.call('SADD', KEYS[1], unpack(ARGV, 2))
return redis.call('PEXPIRE', KEYS[1], ARGV[1])
