-- One line of JSON at the end. Arguments after "--": paths that are asked for in turn (none: the one of the URL).
local requests, at = {}, 0

function init(paths)
	for i, path in ipairs(paths) do
		requests[i] = wrk.format("GET", path)
	end
	if #requests > 1 then
		request = function()
			at = at % #requests + 1
			return requests[at]
		end
	end
end

function done(summary, latency)
	local e = summary.errors
	print(string.format('{"requests":%d,"us":%d,"p50_us":%d,"p99_us":%d,"bad_status":%d,"broken":%d}', summary.requests,
		summary.duration, latency:percentile(50), latency:percentile(99), e.status,
		e.connect + e.read + e.write + e.timeout))
end
