
-- A connection is no longer in a channel. Unknown ones, and those that another node has taken over, are left alone.
--
-- KEYS[1]  here: connection -> member
-- KEYS[2]  users: user -> number of connections
-- ARGV[1]  topic of the channel
-- ARGV[2]  connection
-- ARGV[3]  node, whatever the tenure
-- ARGV[4]  cause, as in the envelope
-- ARGV[5]  with more users than this nobody is told; -1 tells nobody ever
-- Returns the change, or nothing if the user did not go.
local client = ARGV[2]
local member = redis.call('HGET', KEYS[1], client)
member = member and cjson.decode(member)
if not member or string.match(member.node, '^[^~]*') ~= ARGV[3] then return {} end
redis.call('HDEL', KEYS[1], client)
return { forget(KEYS[2], ARGV[1], tonumber(ARGV[4]), client, member, tonumber(ARGV[5])) }
