-- Takes one of a bucket that all nodes share, by Redis' own clock: a string holds the moment at which it will be full
-- again, in Unix µs, and ends by itself then.
--
-- KEYS[1] the bucket
-- ARGV[1] how long one takes to be refilled, µs   ARGV[2] how many it holds
--
-- Returns 0, or how many ms until there is one.

local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local full_at = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now) + ARGV[1]
local early = full_at - now - ARGV[1] * ARGV[2]
if early > 0 then
  return math.max(1, math.ceil(early / 1000))
end
redis.call('SET', KEYS[1], string.format('%.0f', full_at), 'PX', math.ceil((full_at - now) / 1000))
return 0
