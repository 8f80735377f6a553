-- What has to be done about leases that nobody asks for. KEYS are when each lease ends, what holders have to be
-- told, and the fences, beside which it is kept that somebody looks.
-- ARGV[1] is how many of each at most; ARGV[2] is 1 where nobody looks again if there is nothing to be done or to end; the
-- others are texts that were told and can go.
-- Answers 'L1 d next due told': when the next one ends ('-' for never), the names of those that are over, separated by commas
-- ('-' for none), and then each text that has to be told, a space before each.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 3, #ARGV do redis.call('LREM', KEYS[2], 1, ARGV[i]) end
local over = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
local told = redis.call('LRANGE', KEYS[2], 0, ARGV[1] - 1)
local next = first[2] and string.format('%.0f', math.max(first[2] - now, 0)) or '-'
if first[2] or #told > 0 or ARGV[2] ~= '1' then redis.call('HSET', KEYS[3], '#seen', string.format('%.0f', now)) else redis.call('HDEL', KEYS[3], '#seen') end
local names = #over > 0 and table.concat(over, ',') or '-'
return 'L1 d ' .. next .. ' ' .. names .. (#told > 0 and (' ' .. table.concat(told, ' ')) or '')
