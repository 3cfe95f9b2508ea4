#!lua flags=allow-oom
-- The node lives. A script only because a full Redis refuses a bare SET.
--
-- KEYS[1]  the node's lease
-- ARGV[1]  milliseconds that it holds
return redis.call('SET', KEYS[1], 1, 'PX', ARGV[1])
