
-- Removes some of a channel's connections that a dead node held. What the node has written since under another name, and
-- what others have taken over, is left alone; so it does not matter how many do this at once, or how often.
--
-- KEYS[1]  here: connection -> member
-- KEYS[2]  users: user -> number of connections
-- ARGV[1]  topic of the channel
-- ARGV[2]  the name that the node had in the tenure that ended
-- ARGV[3]  where the reading goes on; 0 at its beginning
-- ARGV[4]  how many connections to look at, about
-- ARGV[5]  cause, as in the envelope
-- ARGV[6]  with more users than this nobody is told
-- Returns where the reading goes on (0: it is done), how many connections were removed, and the changes.
local here, users, topic, node = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
local cause, told_max = tonumber(ARGV[5]), tonumber(ARGV[6])
local page = redis.call('HSCAN', here, ARGV[3], 'COUNT', ARGV[4])
local removed, changes = 0, {}
for at = 1, #page[2], 2 do
  local client, stored = page[2][at], page[2][at + 1]
  -- Most are of other nodes: looking for the name is much cheaper than reading the member.
  local member = string.find(stored, node, 1, true) and cjson.decode(stored)
  if member and member.node == node then
    redis.call('HDEL', here, client)
    removed = removed + 1
    changes[#changes + 1] = forget(users, topic, cause, client, member, member.silent and -1 or told_max)
  end
end
return { page[1], removed, changes }
