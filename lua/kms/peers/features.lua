--- The features that nodes of this version announce in each sync message; existing nodes ignore the list.
--   brief     questions about hash trees may have sums and shorter hashes
--   complete  a snapshot says whether its sender's store is complete
--   digest    members compare their stores by hash trees, and exchange what differs
--   fingerprint  a dead record may carry the fingerprint of its value, a delta may hold such stubs, and two versions
--             with equal clocks and different content are settled
--   pages     a snapshot can be had in pages
--   pop       a body names the exchange that it belongs to
--   session   messages go through sessions with members that announce it, too
--   store     a message names the store of its sender, which is a new one after each start
--   stub      a snapshot may hold evicted records, without a value
--   time      a message says its sender's time

local json = require("kms.base.json")

return json.list({ "brief", "complete", "digest", "fingerprint", "pages", "pop", "session",
	"store", "stub", "time" })
