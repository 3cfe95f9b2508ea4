-- Publishes entries to one channel: offsets, log, idempotency keys and one envelope.
--
-- KEYS[1] meta   KEYS[2] log   KEYS[3] topic   KEYS[4..] idempotency keys, in the order of the entries that have one
-- ARGV[1] epoch to begin with if there is none
-- ARGV[2] size of the log
-- ARGV[3] ttl of the log, ms   ARGV[4] ttl of the meta, ms   ARGV[5] ttl of the idempotency keys, ms
-- ARGV[6..] for each entry: deadline in Redis' own clock, Unix ms; '1' if it has a key, else '0'; record
--
-- Returns the epoch, then for each entry its offset, 0 if its deadline has passed, or 'epoch offset' if its key was
-- known. The first write is refused as a whole (no memory, read-only, wrong type), so nothing is ever half done.

local clock = redis.call('TIME')
local now = clock[1] * 1000 + clock[2] / 1000
local meta = redis.call('HMGET', KEYS[1], 'e', 'o')
local epoch, last = meta[1], tonumber(meta[2] or 0)
local begins = not epoch
if begins then
  epoch, last = ARGV[1], 0
end

local answers, records, fresh_keys, in_batch = {epoch}, {}, {}, {}
local next_key = 4
for at = 6, #ARGV, 3 do
  local key
  if ARGV[at + 1] == '1' then
    key = KEYS[next_key]
    next_key = next_key + 1
  end
  local answer
  if key then
    answer = in_batch[key] or redis.call('GET', key)
  end
  if not answer then
    if now > tonumber(ARGV[at]) then
      answer = 0
    else
      records[#records + 1] = ARGV[at + 2]
      answer = last + #records
      if key then
        fresh_keys[#fresh_keys + 1] = {key, answer}
        in_batch[key] = answer
      end
    end
  end
  answers[#answers + 1] = answer
end
if #records == 0 then
  return answers
end

if begins then
  redis.call('HSET', KEYS[1], 'e', epoch)
  redis.call('DEL', KEYS[2]) -- Left over from a meta that was lost: its offsets count no more.
end
for i, record in ipairs(records) do
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], string.format('%.0f-0', last + i), 'r', record)
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
