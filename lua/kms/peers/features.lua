--- What nodes of this version understand beyond existing nodes, which ignore the list. Requests of other
-- types (pages, digests) go only to peers that announced them.
--   complete  snapshots say whether their sender's store is complete
--   pop       bodies name the exchange that they belong to
--   store     messages name the store that they come from: a new one after each start
--   stub      snapshots may hold evicted records, without a value

local json = require("kms.base.json")

return json.list({ "complete", "pop", "store", "stub" })
