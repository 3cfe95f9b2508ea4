-- Reads a channel's meta and a part of its log, or its state, as one moment. A channel that has no meta gets one, so that
-- all nodes agree on the epoch its offsets will count in.
--
-- KEYS[1] meta   KEYS[2] log   KEYS[3] state
-- ARGV[1] epoch to begin with if there is none   ARGV[2] ttl of a meta that nothing was published under, ms
-- ARGV[3] how many entries of the log; 0 reads none
-- ARGV[4] XRANGE or XREVRANGE, ARGV[5] and ARGV[6] its bounds; or HGETALL, which reads the state instead
--
-- Returns epoch, newest offset, its stamp, the offset the epoch began after, whether there is a state (1 or 0), entries:
-- those of the log as Redis gives them, those of the state as publish.lua has written them.

local meta = redis.call('HMGET', KEYS[1], 'e', 'o', 's', 'b')
if not meta[1] then
  redis.call('HSET', KEYS[1], 'e', ARGV[1], 'o', 0)
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  redis.call('DEL', KEYS[2], KEYS[3]) -- Left over from a meta that was lost: their offsets count no more.
  meta = {ARGV[1], '0', false, false}
elseif meta[2] == '0' then
  redis.call('PEXPIRE', KEYS[1], ARGV[2], 'GT')
end
local entries = {}
if ARGV[4] == 'HGETALL' then
  local clock = redis.call('TIME')
  local now = clock[1] * 1000 + clock[2] / 1000
  local fields = redis.call('HGETALL', KEYS[3])
  for at = 1, #fields, 2 do
    local value = fields[at + 1]
    if fields[at] ~= 'm' and struct.unpack('>I8', value, 9) > now then
      entries[#entries + 1] = value
    end
  end
elseif tonumber(ARGV[3]) > 0 then
  entries = redis.call(ARGV[4], KEYS[2], ARGV[5], ARGV[6], 'COUNT', ARGV[3])
end
return {meta[1], meta[2], meta[3], meta[4], redis.call('EXISTS', KEYS[3]), entries}
