-- Pushes changes to the nearest peers first; peers without a measured round trip come last.
return {
	parallel = 4,

	peers = function(list)
		table.sort(list, function(a, b)
			local near, far = a.rtt_ms or math.huge, b.rtt_ms or math.huge
			if near ~= far then return near < far end
			return a.wallet < b.wallet
		end)
		return list
	end,
}
