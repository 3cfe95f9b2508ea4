
-- A connection is in a channel. Repeating it changes nothing and tells nobody.
--
-- KEYS[1]  here: connection -> member
-- KEYS[2]  users: user -> number of connections
-- ARGV[1]  topic of the channel
-- ARGV[2]  connection
-- ARGV[3]  user
-- ARGV[4]  the name that the node has in this tenure
-- ARGV[5]  info, empty for none
-- ARGV[6]  milliseconds that the keys live without another write
-- ARGV[7]  with more users than this nobody is told; -1 tells nobody ever
-- ARGV[8]  1 if nobody is to be told when the connection ends with its node either
-- Returns the changes: who went, and who came. Nothing if the user was there.
local here, users, topic, client = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
local told_max = tonumber(ARGV[7])
local member = { user = ARGV[3], node = ARGV[4] }
if ARGV[5] ~= '' then member.info = ARGV[5] end
if ARGV[8] == '1' then member.silent = true end

local before = redis.call('HGET', here, client)
before = before and cjson.decode(before)
redis.call('HSET', here, client, cjson.encode(member))
redis.call('PEXPIRE', here, ARGV[6])
local changes = {}
if not before or before.user ~= member.user then
  -- The connection's token was renewed for another user.
  if before then changes[1] = forget(users, topic, 0, client, before, told_max) end
  if redis.call('HINCRBY', users, member.user, 1) == 1 then
    local size = redis.call('HLEN', users)
    changes[#changes + 1] = change(0, size == 1, client, member)
    if size <= told_max then tell(topic, 0, 0, client, member) end
  end
end
redis.call('PEXPIRE', users, ARGV[6])
return changes
