#!lua flags=allow-oom
-- A node lives: its connections count. It hears which of them have lost their place, again and again until it says that it
-- has heard so many.
--
-- KEYS[1]  sessions: node -> until when its connections count
-- KEYS[2]  its list of what its connections lost
-- ARGV[1]  the node
-- ARGV[2]  milliseconds
-- ARGV[3]  how many of the list it has heard
-- ARGV[4]  how many to tell at the most
-- ARGV[5]  milliseconds that sessions lives without another write
-- Returns 1 if its connections have counted all the time, and those that have lost.
local sessions, node = KEYS[1], ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local last = redis.call('HGET', sessions, node)
local held = last and tonumber(last) > now
redis.call('HSET', sessions, node, now + tonumber(ARGV[2]))
redis.call('PEXPIRE', sessions, ARGV[5])
if not held then
  -- Now and then: those that are long dead.
  local all = redis.call('HGETALL', sessions)
  for i = 1, #all, 2 do
    if tonumber(all[i + 1]) < now - 3600000 then redis.call('HDEL', sessions, all[i]) end
  end
end
if ARGV[3] ~= '0' then redis.call('LTRIM', KEYS[2], ARGV[3], -1) end
return { held and 1 or 0, redis.call('LRANGE', KEYS[2], 0, tonumber(ARGV[4]) - 1) }
