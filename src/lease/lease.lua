-- One step on one lease. KEYS are the lease's state, the fences of all leases, when each lease ends, what holders have to be
-- told. ARGV[1] says what, ARGV[2] is the name.
--   o  head tail ttl         grants what nobody has: its state is head, fence, times, tail
--   o  head tail ttl user request most head tail wait
--                            and where another has it, puts whoever is not in the queue at its end, if fewer than `most` are:
--                            as head, the instant `wait` from now, tail
--   c  user fence claim      frees what this holder has; it passes to whoever is first in the queue, for `claim`, if all there
--                            still wait
--   n  user fence ttl        lets what this holder has live for `ttl` ('' for as long as it was given before) from now
--   r                        reads
--   s  old new highest fence since before due losses ...
--                            writes `new` ('' for nothing) if the state is still `old`, the highest fence still `highest`, and
--                            it is not before `since` and before `before` ('' for whenever); the highest fence becomes
--                            `fence`, the lease ends at `due` ('' for never)
--   b  nonce                 begins the life of an empty or unknown Redis; gives the nonce in force
--   e  nonce epoch           gives this life its epoch, if it is still the life of that nonce and has none
-- Answers 'L1 ' and:  g state   granted      f   freed      w   written      p now state  renewed
--                     h pushed state        freed, and passed on to one who is told on its channel (1) or not (0)
--                     s now highest state   what there is
--                     e         no epoch: begin first        n nonce          k   done
-- 'g!', 'h!' and 'w!' say besides that nobody looks after the leases that end by themselves.
-- Fences are kept in one hash together with the epoch of this life of the Redis: what loses one loses all of them. A fence is
-- the epoch times 2^32 and a count. A life ends with the data, and with the process: another process may be a replica that
-- lacks the last writes.
local what, name = ARGV[1], ARGV[2]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function digits(number) return string.format('%.0f', number) end
local known = redis.call('HMGET', KEYS[2], '#run', '#epoch', '#nonce', name, '#seen')
local fine, info = pcall(redis.call, 'INFO', 'server')
local run = fine and string.match(info, 'run_id:(%w+)') or '-'
local alive = known[1] == run
if what == 'b' then
  if not alive then
    redis.call('DEL', KEYS[2])
    redis.call('HSET', KEYS[2], '#run', run, '#nonce', ARGV[3])
    return 'L1 n ' .. ARGV[3]
  end
  return 'L1 n ' .. known[3]
end
if what == 'e' then
  if alive and known[3] == ARGV[3] and not known[2] then redis.call('HSET', KEYS[2], '#epoch', ARGV[4]) end
  return 'L1 k'
end
if not alive or not known[2] then return 'L1 e' end
local highest = math.max(tonumber(known[4] or 0), tonumber(known[2]) * 4294967296)
local state = redis.call('GET', KEYS[1])
local watched = now - tonumber(known[5] or 0) < 4000
if what == 'o' and not state then
  local fence, ends = digits(highest + 1), digits(now + ARGV[5])
  state = ARGV[3] .. fence .. ',"granted":' .. digits(now) .. ',"expires":' .. ends .. ARGV[4]
  redis.call('HSET', KEYS[2], name, fence)
  redis.call('SET', KEYS[1], state)
  redis.call('ZADD', KEYS[3], ends, name)
  return (watched and 'L1 g ' or 'L1 g! ') .. state
end
if what == 'o' and ARGV[6] and state then
  local found = cjson.decode(state)
  local lease, queue = found.lease, found.queue or {}
  local function is_theirs(user, request) return user == ARGV[6] and request == ARGV[7] end
  local fits = lease and lease.expires > now and not is_theirs(lease.user, lease.request_id) and #queue < tonumber(ARGV[8])
  for _, waiter in ipairs(queue) do fits = fits and not is_theirs(waiter.asker.user, waiter.request_id) end
  if fits then
    -- The queue comes last in the text.
    local before = #queue > 0 and string.sub(state, 1, -3) .. ',' or string.sub(state, 1, -2) .. ',"queue":['
    state = before .. ARGV[9] .. digits(now + ARGV[11]) .. ARGV[10] .. ']}'
    redis.call('SET', KEYS[1], state)
  end
end
if (what == 'c' or what == 'n') and state then
  local found = cjson.decode(state)
  local lease = found.lease
  local theirs = lease and lease.user == ARGV[3] and lease.fence == tonumber(ARGV[4]) and lease.expires > now
  if theirs and what == 'n' then
    -- The lease comes first in the text, and no string in JSON has a bare quote in it. (What cjson writes loses digits.)
    local ttl = tonumber(ARGV[5]) or lease.ttl
    local ends = digits(now + ttl)
    state = string.gsub(state, '"expires":%d+', '"expires":' .. ends, 1)
    state = string.gsub(state, '"ttl":%d+', '"ttl":' .. digits(ttl), 1)
    state = string.gsub(state, '"sure":%a+', '"sure":true', 1)
    redis.call('SET', KEYS[1], state)
    redis.call('ZADD', KEYS[3], ends, name)
    return 'L1 p ' .. digits(now) .. ' ' .. state
  end
  if theirs and not found.queue then
    redis.call('DEL', KEYS[1])
    redis.call('ZREM', KEYS[3], name)
    return 'L1 f'
  end
  local is_settled = theirs and true
  for _, waiter in ipairs(found.queue or {}) do is_settled = is_settled and waiter['until'] > now end
  if is_settled then
    -- As text again: the queue comes last, and what looks like the beginning of a waiter is one.
    local queue = string.match(state, ',"queue":%[(.*)%]}$')
    local first, rest = string.match(queue, '^(.-}),({"asker":.*)$')
    local user, holder, request, ttl =
      string.match(first or queue, '^{"asker":{"user":(".-"),"name":(".-")},"request_id":(".-"),"ttl":(%d+),"until":')
    local fence, ends = digits(highest + 1), digits(now + ARGV[5])
    state = '{"lease":{"user":' .. user .. ',"holder":' .. holder .. ',"request_id":' .. request .. ',"fence":' .. fence
      .. ',"granted":' .. digits(now) .. ',"expires":' .. ends .. ',"ttl":' .. ttl .. ',"sure":false,"group":null}'
      .. (rest and ',"queue":[' .. rest .. ']' or '') .. '}'
    redis.call('HSET', KEYS[2], name, fence)
    redis.call('SET', KEYS[1], state)
    redis.call('ZADD', KEYS[3], ends, name)
    return (watched and 'L1 h ' or 'L1 h! ') .. (found.queue[1].pushed and '1 ' or '0 ') .. state
  end
end
local function is_time() return now >= (tonumber(ARGV[7]) or 0) and now < (tonumber(ARGV[8]) or math.huge) end
if what == 's' and (state or '') == ARGV[3] and digits(highest) == ARGV[5] and is_time() then
  if ARGV[6] ~= ARGV[5] then redis.call('HSET', KEYS[2], name, ARGV[6]) end
  if ARGV[4] == '' then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], ARGV[4]) end
  if ARGV[9] == '' then redis.call('ZREM', KEYS[3], name) else redis.call('ZADD', KEYS[3], ARGV[9], name) end
  for i = 10, #ARGV do redis.call('RPUSH', KEYS[4], ARGV[i]) end
  return (watched or ARGV[9] == '') and 'L1 w' or 'L1 w!'
end
return 'L1 s ' .. digits(now) .. ' ' .. digits(highest) .. ' ' .. (state or '')
