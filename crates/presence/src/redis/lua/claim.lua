#!lua flags=allow-oom
-- A node lives, or has begun to be reaped. A script only because a full Redis refuses a bare SET.
--
-- KEYS[1]  the node's lease, or the mark of its end
-- ARGV[1]  milliseconds that it holds
-- ARGV[2]  the name that the node has in this tenure
return redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[1])
