#!lua flags=allow-oom
-- What was revoked after a change.
--
-- KEYS[1]  revoked: target -> before:until
-- KEYS[2]  revoked:order: target by number of the change
-- KEYS[3]  revoked:meta: epoch e, number n
-- ARGV[1]  the number of the change
-- ARGV[2]  how many at the most
-- Returns the epoch (empty if there is none), the number of the last change, that of the last one returned, and targets and
-- values, in turn.
local meta = redis.call('HMGET', KEYS[3], 'e', 'n')
local page = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
local found, last = {}, ARGV[1]
for i = 1, #page, 2 do
  last = page[i + 1]
  local value = redis.call('HGET', KEYS[1], page[i])
  if value then
    found[#found + 1] = page[i]
    found[#found + 1] = value
  end
end
return { meta[1] or '', meta[2] or '0', last, found }
