-- Reads a channel's meta and a part of its log, as one moment. A channel that has no meta gets one, so that all nodes
-- agree on the epoch its offsets will count in.
--
-- KEYS[1] meta   KEYS[2] log
-- ARGV[1] epoch to begin with if there is none   ARGV[2] ttl of a new meta, ms
-- ARGV[3] how many entries of the log; 0 reads none
-- ARGV[4] XRANGE or XREVRANGE   ARGV[5], ARGV[6] its bounds
--
-- Returns epoch, newest offset, its stamp, the offset the epoch began after, entries.

local meta = redis.call('HMGET', KEYS[1], 'e', 'o', 's', 'b')
if not meta[1] then
  redis.call('HSET', KEYS[1], 'e', ARGV[1], 'o', 0)
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  redis.call('DEL', KEYS[2]) -- Left over from a meta that was lost: its offsets count no more.
  meta = {ARGV[1], '0', false, false}
end
local entries = {}
if tonumber(ARGV[3]) > 0 then
  entries = redis.call(ARGV[4], KEYS[2], ARGV[5], ARGV[6], 'COUNT', ARGV[3])
end
return {meta[1], meta[2], meta[3], meta[4], entries}
