#!lua flags=allow-oom
-- In front of join.lua, leave.lua and reap.lua. Presence goes on when Redis is full: what it adds is bounded by the
-- connections.
--
-- A member is kept as {"user": .., "node": "<id>.<incarnation>", "info": "<JSON as text>", "silent": true}. `node` ends
-- with ~2, ~3, .. after the node's first, second, .. lease has ended. `info` may be absent; it is text within JSON so that
-- nothing from a token is ever parsed here. `silent` is there if nobody is told who comes and goes.

-- A text of the envelope that protocol::envelope describes: two bytes of length, then the bytes.
local function text(s)
  local size = #s
  if size > 65535 then
    size = 65535
    -- Not in the middle of a character.
    while string.byte(s, size + 1) >= 128 and string.byte(s, size + 1) < 192 do size = size - 1 end
  end
  return string.char(math.floor(size / 256), size % 256) .. string.sub(s, 1, size)
end

-- Publishes a membership envelope: version 1, kind 2. `left` is 0 for a join and 1 for a leave.
local function tell(topic, left, cause, client, member)
  local change = string.char(1, 2, left, cause) .. text(client) .. text(member.user)
  if member.info and #member.info <= 65535 then change = change .. text(member.info) end
  redis.call('PUBLISH', topic, change)
end

-- What a script answers of a user that came or went: 0 or 1 for `left`, 1 if it is the channel's first or last user, its
-- connection, its name, and what the token says of it (empty for nothing).
local function change(left, is_edge, client, member)
  return { left, is_edge and 1 or 0, client, member.user, member.info or '' }
end

-- One connection less for a user. The last one is told, unless there were more than `told_max` users before. Returns the
-- change; nil if the user has other connections.
local function forget(users, topic, cause, client, member, told_max)
  if redis.call('HINCRBY', users, member.user, -1) > 0 then return nil end
  local before = redis.call('HLEN', users)
  redis.call('HDEL', users, member.user)
  if before <= told_max then tell(topic, 1, cause, client, member) end
  return change(1, before == 1, client, member)
end
