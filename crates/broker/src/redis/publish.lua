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
