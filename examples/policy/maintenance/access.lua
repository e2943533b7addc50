-- Read-only during maintenance: keys and records can be read, but nothing can be written.
return {
	data = function(r)
		if r.route == "put" or r.route == "delete" then
			return { status = 503, reason = "read-only during maintenance", retry_after = 600 }
		end
	end,
}
