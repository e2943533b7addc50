-- Adds GET /about, which says who runs this node. The protocol's routes stay as shipped.
return {
	extra = {
		{
			name = "about", description = "who runs this node", path = "/about", rate = 30,
			handler = function(f)
				return { operator = "Example Ltd", contact = "ops@example.org", node = f.url, ready = f.ready }
			end,
		},
	},
}
