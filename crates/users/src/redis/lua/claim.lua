#!lua flags=allow-oom
-- A connection claims a place among its user's, or takes the one again that it had.
--
-- KEYS[1]  user: node.connection -> its place in the order in which they came
-- KEYS[2]  sessions: node -> until when its connections count
-- ARGV[1]  the node
-- ARGV[2]  the connection
-- ARGV[3]  how many there may be; 0 for the newest alone
-- ARGV[4]  its place in the order; 0 for a connection that has come just now
-- ARGV[5]  milliseconds that the user lives without another write
-- ARGV[6]  the list of what a node's connections lost, with * for the node
-- ARGV[7]  milliseconds that such a list lives
-- Returns 1, its place, and whose place it took; or 0, 0 and who holds the places; or -1 if the node's own connections do
-- not count: it has to say first that it lives.
local user, sessions, node = KEYS[1], KEYS[2], ARGV[1]
local me, limit, place = node .. '.' .. ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lives = {}
local function is_alive(name)
  if lives[name] == nil then
    local last = redis.call('HGET', sessions, name)
    lives[name] = last and tonumber(last) > now or false
  end
  return lives[name]
end
if not is_alive(node) then return { -1, '0', {} } end

local others, latest, is_there = {}, 0, false
local known = redis.call('HGETALL', user)
for i = 1, #known, 2 do
  local name, at = known[i], tonumber(known[i + 1])
  if name == me then
    is_there = true
    if place == 0 then place = at end
  elseif is_alive(string.match(name, '^(.*)%.%x+$') or '') then
    others[#others + 1] = { name = name, at = at }
    if at > latest then latest = at end
  else
    redis.call('HDEL', user, name)
  end
end
if place == 0 then
  place = math.max(time[1] * 1000000 + time[2], latest + 1)
end
table.sort(others, function(a, b) return a.at < b.at or (a.at == b.at and a.name < b.name) end)
local names, is_refused = {}, false
if limit > 0 then
  is_refused = not is_there and #others >= limit
else
  local last = others[#others]
  is_refused = last and (last.at > place or (last.at == place and last.name > me))
end
if is_refused then
  redis.call('HDEL', user, me)
  for _, other in ipairs(others) do names[#names + 1] = other.name end
  return { 0, '0', names }
end
local written = string.format('%.0f', place)
redis.call('HSET', user, me, written)
redis.call('PEXPIRE', user, ARGV[5])
for i = 1, limit == 0 and #others or 0 do
  local name = others[i].name
  local owner, connection = string.match(name, '^(.*)%.(%x+)$')
  local list = string.gsub(ARGV[6], '%*', owner)
  redis.call('HDEL', user, name)
  redis.call('RPUSH', list, connection)
  redis.call('PEXPIRE', list, ARGV[7])
  names[#names + 1] = name
end
return { 1, written, names }
