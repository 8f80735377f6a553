-- One batch on one shard: holds every condition, then runs every step in order. All or nothing: whatever can fail comes
-- before the first write. KEYS are the shard's counter, then the key of each step. ARGV is the instant to judge expiry by
-- in milliseconds ('' is this server's clock), then each step in columns of fixed width:
--   1 what (g get, c check, p put, d delete)   2 condition (- always, a absent, v version)   3-18 that version
--   19-34 expiry, 9999999999999999 for never   35- the value
-- A value is kept as 16 digits of version, 16 of expiry, and the value, so that a condition reads 32 bytes of it.
local time = redis.call('TIME')
local micros = time[1] * 1000000 + time[2]
local now = tonumber(ARGV[1]) or math.floor(micros / 1000)
local function live(head)
  return head and #head >= 32 and tonumber(string.sub(head, 17, 32)) > now
end
for i = 2, #KEYS do
  local condition = string.sub(ARGV[i], 2, 2)
  if condition == 'a' or condition == 'v' then
    local head = redis.call('GETRANGE', KEYS[i], 0, 31)
    local wanted = condition == 'v' and string.sub(ARGV[i], 3, 18)
    local found = live(head) and string.sub(head, 1, 16)
    if found ~= wanted then return 'B1 r ' .. (i - 2) end
  end
end
local counter
local out = {'B1 d'}
for i = 2, #KEYS do
  local step = ARGV[i]
  local what = string.sub(step, 1, 1)
  if what == 'g' then
    local value = redis.call('GET', KEYS[i])
    out[i] = live(value) and ('=' .. value) or '-'
  elseif what == 'p' then
    -- Never a number twice: above every one of this shard's, and above those of before a loss of all data, since a write
    -- takes Redis more than the microsecond that its number takes of the clock.
    counter = math.max((counter or tonumber(redis.call('GET', KEYS[1]) or 0)) + 1, micros)
    local version = string.format('%016.0f', counter)
    local value = version .. string.sub(step, 19)
    local expires = tonumber(string.sub(step, 19, 34))
    if expires < 9999999999999999 then
      -- The server's own expiry only sweeps, a minute late; what is live is judged above.
      redis.call('SET', KEYS[i], value, 'PX', string.format('%.0f', math.max(expires - now, 0) + 60000))
    else
      redis.call('SET', KEYS[i], value)
    end
    out[i] = 'w' .. version
  else
    if what == 'd' then redis.call('DEL', KEYS[i]) end
    out[i] = '.'
  end
end
if counter then redis.call('SET', KEYS[1], string.format('%.0f', counter)) end
return table.concat(out, ' ')
