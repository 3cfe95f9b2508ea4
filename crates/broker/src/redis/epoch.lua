-- Ends an epoch whose log went back in time, so that no offset counts twice; whoever comes first does it, and says so to
-- all who follow the channel: those who were never ahead would otherwise learn of it by the next publication only.
--
-- KEYS[1] meta   KEYS[2] state   KEYS[3] topic
-- ARGV[1] the epoch to end   ARGV[2] the next one
--
-- Returns what read.lua does, with no entries. The state stays: it is as old as the log, and offsets go on.

local meta = redis.call('HMGET', KEYS[1], 'e', 'o', 's', 'b')
if meta[1] == ARGV[1] then
  local clock = redis.call('TIME')
  local now = string.format('%.0f', clock[1] * 1000 + math.floor(clock[2] / 1000))
  redis.call('HSET', KEYS[1], 'e', ARGV[2], 'b', meta[2] or 0, 't', now)
  redis.call('PUBLISH', KEYS[3], string.char(1, 3))
  meta[1], meta[4] = ARGV[2], meta[2]
end
return {meta[1], meta[2], meta[3], meta[4], redis.call('EXISTS', KEYS[2]), {}}
