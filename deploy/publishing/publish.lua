-- Publishes to a channel, for a backend that has the gateways' Redis at hand and no need of HTTP.
--
--   EVAL publish.lua 1 gw:{chat:lobby} '{"text":"hello"}' [FIELD VALUE]...
--
-- KEYS[1] the channel's topic: `redis.prefix`, and the channel's name in braces
-- ARGV[1] data: one JSON value, which travels as it is
-- then pairs, in any order:
--   event NAME          the application's name for what happened
--   key NAME            idempotency: for five minutes a repeat is answered like the first and not delivered again
--   retain NAME         also keeps it in the channel's state under this key; data `null` takes the key out
--   history.size N      100; this and the following as the gateways' configuration says for the channel, or the next
--   history.ttl_ms N    300000      publication from a gateway trims what this one has kept; size 0: at most once,
--   state.keys N        1000        outside the log
--   state.bytes N       262144
--   state.ttl_ms N      86400000
--
-- Returns {epoch, offset}, and {'', 0} for size 0. An error says that nothing was published. Whoever gets no answer at all
-- repeats with the same `key`.
--
-- It does what a gateway's own script does: from `local function nodes_script` on it is broker/src/redis/publish.lua,
-- letter for letter, which a test looks after. `data` is checked to be what every client can read. What a gateway checks
-- by the namespace (events, schema, max_message, access) is not checked: whoever may write here may do anything anyway.

local topic, data = KEYS[1] or '', string.match(ARGV[1] or '', '^%s*(.-)%s*$')
local given = { event = '', key = '', retain = '', ['history.size'] = '100', ['history.ttl_ms'] = '300000',
  ['state.keys'] = '1000', ['state.bytes'] = '262144', ['state.ttl_ms'] = '86400000' }

local function refuse(why)
  error({ err = 'ERR publish.lua: ' .. why })
end

local function is_utf8(text)
  if not string.find(text, '[\128-\255]') then
    return true
  end
  for _, sequence in ipairs({ '[\194-\223]', '\224[\160-\191]', '[\225-\236\238\239][\128-\191]', '\237[\128-\159]',
    '\240[\144-\191][\128-\191]', '[\241-\243][\128-\191][\128-\191]', '\244[\128-\143][\128-\191]' }) do
    text = string.gsub(text, sequence .. '[\128-\191]', ' ')
  end
  return not string.find(text, '[\128-\255]')
end

-- What cjson takes beyond JSON would break the messages of every subscriber: it is looked for in what is left without the
-- strings.
local function is_json(text)
  if not pcall(cjson.decode, text) then
    return false
  end
  local plain = string.gsub(text, '\\.', '')
  for content in string.gmatch(plain, '"([^"]*)"') do
    if string.find(content, '[%z\1-\31]') then
      return false
    end
  end
  local bare = string.gsub(string.gsub(plain, '"[^"]*"', '""'), '%d[eE][+-]?%d+', '0')
  bare = ' ' .. bare .. ' '
  for word in string.gmatch(bare, '%a+') do
    if word ~= 'true' and word ~= 'false' and word ~= 'null' then
      return false
    end
  end
  local depth = 0
  for bracket in string.gmatch(bare, '[%[%]{}]') do
    depth = depth + ((bracket == '[' or bracket == '{') and 1 or -1)
    if depth > 100 then
      return false
    end
  end
  return not (string.find(bare, '[^%d%.]0%d') or string.find(bare, '%.%D') or string.find(bare, '%D%.')
    or string.find(bare, '%+'))
end

local channel = string.match(topic, '^[^{}]+{([^{}%s%c,*]+)}$')
if not channel or #channel > 255 or string.find(channel, '^[@$]') or not is_utf8(topic) then
  refuse('KEYS[1] is the prefix and a channel in braces, such as gw:{chat:lobby}')
end
if not is_utf8(data) or not is_json(data) then
  refuse('ARGV[1] is one JSON value in UTF-8, at most 100 levels deep')
end
for at = 2, #ARGV, 2 do
  local field, value = ARGV[at], ARGV[at + 1]
  if not given[field] or not value then
    refuse('`' .. field .. '` is no field, or has no value')
  elseif not string.find(field, '.', 1, true) then
    if value == '' or #value > 255 or not is_utf8(value) then
      refuse('`' .. field .. '` is 1 to 255 bytes of UTF-8')
    end
  elseif not string.match(value, '^%d+$') or #value > 12 or (tonumber(value) == 0 and string.find(field, 'ttl')) then
    refuse('`' .. field .. '` is a whole number of at most 12 digits, and a time is not zero')
  end
  given[field] = value
end
local keeps = tonumber(given['history.size']) > 0
if not keeps and (given.key ~= '' or given.retain ~= '') then
  refuse('`key` and `retain` need a channel with history')
end

-- The record, as protocol/src/envelope.rs describes it. Redis' chance is the same whenever a script begins; so the stamp,
-- which tells apart two publications with one offset, and a first epoch come from the time and from all that was given.
local time = redis.call('TIME')
local chance = redis.sha1hex(time[1] .. ' ' .. time[2] .. ' ' .. topic .. ' ' .. table.concat(ARGV, ' '))
local stamp = string.gsub(string.sub(chance, 1, 16), '..', function(hex)
  return string.char(tonumber(hex, 16))
end)
local flags, texts = 0, ''
for _, text in ipairs({ { 'event', 2 }, { 'retain', 32 } }) do
  local value, flag = given[text[1]], text[2]
  if value ~= '' then
    flags, texts = flags + flag, texts .. struct.pack('>I2', #value) .. value
  end
end
local time_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local record = string.char(flags, 0) .. stamp .. struct.pack('>I8', time_ms) .. texts .. data
record = struct.pack('>I4', #record) .. record

if not keeps then
  redis.call('PUBLISH', topic, string.char(1, 1, 0) .. struct.pack('>I8', 0) .. record)
  return { '', 0 }
end

local names = { topic .. ':meta', topic .. ':log', topic, topic .. ':state' }
if given.key ~= '' then
  names[5] = topic .. ':keys:' .. given.key
end
local month_ms = 30 * 24 * 3600 * 1000
local meta_ttl_ms = math.max(month_ms, tonumber(given['history.ttl_ms']), tonumber(given['state.ttl_ms']))
local does = given.retain == '' and '' or (data == 'null' and '-' or '+') .. given.retain
local arguments = { string.sub(chance, 17, 28), given['history.size'], given['history.ttl_ms'],
  string.format('%.0f', meta_ttl_ms), '300000', given['state.keys'], given['state.bytes'], given['state.ttl_ms'],
  string.format('%.0f', time_ms + 1000), given.key == '' and '0' or '1', does, record }

local function nodes_script(KEYS, ARGV)
-- Publishes entries to one channel: offsets, log, state, idempotency keys and one envelope.
--
-- KEYS[1] meta   KEYS[2] log   KEYS[3] topic   KEYS[4] state
-- KEYS[5..] idempotency keys, in the order of the entries that have one
-- ARGV[1] epoch to begin with if there is none
-- ARGV[2] size of the log
-- ARGV[3] ttl of the log, ms   ARGV[4] ttl of the meta, ms   ARGV[5] ttl of the idempotency keys, ms
-- ARGV[6] keys of the state at the most   ARGV[7] its bytes at the most   ARGV[8] ttl of a key in it, ms
-- ARGV[9..] for each entry: deadline in Redis' own clock, Unix ms; '1' if it has an idempotency key, else '0'; '+' and
--   the key that it takes in the state, '-' and the key that it takes out of it, or ''; record
--
-- Returns the epoch, then for each entry its offset, 0 if its deadline has passed, -1 if the state has no room for it, or
-- 'epoch offset' if its idempotency key was known. The first write is refused as a whole (no memory, read-only, wrong
-- type), so nothing is ever half done.
--
-- The state is a hash. A key's field is 'k' and its name: offset, end of its time in Unix ms (8 bytes each), record. The
-- field 'm' holds how many there are, their bytes, and before when none of them ends.

local clock = redis.call('TIME')
local now = clock[1] * 1000 + clock[2] / 1000
local meta = redis.call('HMGET', KEYS[1], 'e', 'o')
local epoch, last = meta[1], tonumber(meta[2] or 0)
local begins = not epoch
if begins then
  epoch, last = ARGV[1], 0
end

-- The state as this call finds it and leaves it: values by key, false for those that go. Only made where it is asked for.
local function open_state()
  local changes, keys, bytes, sweep_at = {}, 0, 0, 0
  local is_swept, is_kept = false, false
  local known = not begins and redis.call('HGET', KEYS[4], 'm')
  if known then
    keys, bytes, sweep_at = string.match(known, '^(%d+) (%d+) (%d+)$')
    keys, bytes, sweep_at = tonumber(keys), tonumber(bytes), tonumber(sweep_at)
  end
  local state = {}

  local function length_of(key)
    if changes[key] ~= nil then
      return changes[key] and #changes[key] or 0
    end
    return known and redis.call('HSTRLEN', KEYS[4], 'k' .. key) or 0
  end

  local function remove(key, length)
    if length > 0 then
      changes[key] = false
      keys, bytes = keys - 1, bytes - length - #key
    end
  end

  function state.remove(key)
    remove(key, length_of(key))
  end

  -- Removes what has ended: when there is no room, and at most once a second.
  local function sweep()
    local fields = redis.call('HGETALL', KEYS[4])
    is_swept, sweep_at = true, now + ARGV[8]
    for at = 1, #fields, 2 do
      local key, value = string.sub(fields[at], 2), fields[at + 1]
      if fields[at] ~= 'm' and changes[key] == nil then
        local ends = struct.unpack('>I8', value, 9)
        if ends <= now then
          remove(key, #value)
        end
        sweep_at = math.min(sweep_at, math.max(ends, now + 1000))
      end
    end
  end

  local function has_room(key, length)
    local before = length_of(key)
    local grows = length - before + (before == 0 and #key or 0)
    local fits = before > 0 or keys < tonumber(ARGV[6])
    return fits and (grows <= 0 or bytes + grows <= tonumber(ARGV[7])), before, grows
  end

  -- Puts a record under its key; false if there is no room for it.
  function state.put(key, record, offset)
    local ends = math.floor(now + ARGV[8])
    local value = struct.pack('>I8I8', offset, ends) .. record
    local fits, before, grows = has_room(key, #value)
    if not fits and known and now >= sweep_at then
      sweep()
      fits, before, grows = has_room(key, #value)
    end
    if fits then
      changes[key], is_kept = value, true
      keys, bytes = keys + (before == 0 and 1 or 0), bytes + grows
      sweep_at = keys == 1 and ends or math.min(sweep_at, ends)
    end
    return fits
  end

  function state.write()
    if keys == 0 then
      redis.call('DEL', KEYS[4])
    elseif is_swept or next(changes) then
      local fields = {'m', string.format('%.0f %.0f %.0f', keys, bytes, sweep_at)}
      for key, value in pairs(changes) do
        if value then
          fields[#fields + 1] = 'k' .. key
          fields[#fields + 1] = value
        else
          redis.call('HDEL', KEYS[4], 'k' .. key)
        end
      end
      redis.call('HSET', KEYS[4], unpack(fields))
      if is_kept then
        redis.call('PEXPIRE', KEYS[4], ARGV[8])
      end
    end
  end

  return state
end

local answers, records, fresh_keys, in_batch = {epoch}, {}, {}, {}
local state
local next_key = 5
for at = 9, #ARGV, 4 do
  local key
  if ARGV[at + 1] == '1' then
    key = KEYS[next_key]
    next_key = next_key + 1
  end
  local answer
  if key then
    answer = in_batch[key] or redis.call('GET', key)
  end
  local does = not answer and ARGV[at + 2] or ''
  if not answer and now > tonumber(ARGV[at]) then
    answer, does = 0, ''
  end
  if does ~= '' then
    state = state or open_state()
    local retained = string.sub(does, 2)
    if string.sub(does, 1, 1) == '-' then
      state.remove(retained)
    elseif not state.put(retained, ARGV[at + 3], last + #records + 1) then
      answer = -1
    end
  end
  if not answer then
    records[#records + 1] = ARGV[at + 3]
    answer = last + #records
    if key then
      fresh_keys[#fresh_keys + 1] = {key, answer}
      in_batch[key] = answer
    end
  end
  answers[#answers + 1] = answer
end
if #records == 0 then
  if state then
    state.write()
  end
  return answers
end

if begins then
  redis.call('HSET', KEYS[1], 'e', epoch)
  redis.call('DEL', KEYS[2], KEYS[4]) -- Left over from a meta that was lost: their offsets count no more.
end
for i, record in ipairs(records) do
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], string.format('%.0f-0', last + i), 'r', record)
end
if state then
  state.write()
end
local stamp = string.sub(records[#records], 7, 14)
redis.call('HSET', KEYS[1], 'o', string.format('%.0f', last + #records), 's', stamp)
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
for _, fresh in ipairs(fresh_keys) do
  redis.call('SET', fresh[1], epoch .. ' ' .. string.format('%.0f', fresh[2]), 'PX', ARGV[5])
end
local head = string.char(1, 1, #epoch) .. epoch .. struct.pack('>I8', last + 1)
redis.call('PUBLISH', KEYS[3], head .. table.concat(records))
return answers
end

local answer = nodes_script(names, arguments)
local epoch, offset = answer[1], answer[2]
if type(offset) == 'string' then
  -- A repeat: where the first one went.
  epoch, offset = string.match(offset, '^(%S+) (%d+)$')
  return { epoch, tonumber(offset) }
elseif offset == -1 then
  refuse('the state has no room for this key (state.keys, state.bytes)')
elseif offset == 0 then
  refuse('Redis took too long')
end
return { epoch, offset }
