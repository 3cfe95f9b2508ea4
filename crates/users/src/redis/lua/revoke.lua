#!lua flags=allow-oom
-- Revocations are remembered, each joined with what is known of its target: the later end, and the later moment before
-- which tokens were issued.
--
-- KEYS[1]  revoked: target -> before:until
-- KEYS[2]  revoked:order: target by number of the change
-- KEYS[3]  revoked:ends: target by end
-- KEYS[4]  revoked:meta: epoch e, number n
-- ARGV[1]  how many there may be; 0 for those that were taken before and are only written again
-- ARGV[2]  the epoch, if a new one begins
-- ARGV[3]  milliseconds that they are remembered beyond their end
-- ARGV[4…] target, before, until: three of each
-- Returns how many were added or made wider; -1 if there is no room, and then nothing was done with that and what follows.
local revoked, order, ends, meta = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local time, leeway = redis.call('TIME'), tonumber(ARGV[3])
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- A few at a time: the rest goes with the next ones.
local over = redis.call('ZRANGEBYSCORE', ends, '-inf', now - leeway, 'LIMIT', 0, 500)
if #over > 0 then
  redis.call('HDEL', revoked, unpack(over))
  redis.call('ZREM', order, unpack(over))
  redis.call('ZREM', ends, unpack(over))
end
redis.call('HSETNX', meta, 'e', ARGV[2])
local changes = 0
for i = 4, #ARGV, 3 do
  local target, before, last = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local known = redis.call('HGET', revoked, target)
  if not known and ARGV[1] ~= '0' and redis.call('HLEN', revoked) >= tonumber(ARGV[1]) then return -1 end
  if known then
    local known_before, known_last = string.match(known, '^(%d+):(%d+)$')
    if tonumber(known_before) > tonumber(before) then before = known_before end
    if tonumber(known_last) > tonumber(last) then last = known_last end
  end
  local value = before .. ':' .. last
  if known ~= value then
    local number = redis.call('HINCRBY', meta, 'n', 1)
    redis.call('HSET', revoked, target, value)
    redis.call('ZADD', order, number, target)
    redis.call('ZADD', ends, last, target)
    changes = changes + 1
  end
end
if changes > 0 then
  -- Nothing is left behind when the last has ended.
  local latest = redis.call('ZRANGE', ends, -1, -1, 'WITHSCORES')[2]
  for _, key in ipairs(KEYS) do redis.call('PEXPIREAT', key, string.format('%.0f', tonumber(latest) + 2 * leeway)) end
end
return changes
