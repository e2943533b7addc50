#include "store/store_share.h"

#include "store/store_internal.h"

share_survey kms_share_survey(kms_store *store, size_t self, uint64_t share)
{
	share_survey s = { SIZE_MAX, 0, 0 };
	size_t count = kms_namespace_count(store);
	for (size_t i = 0; i < count; i++) {
		uint64_t excess =
		    i == self ? 0 : kms_share_excess(kms_share_held(kms_namespace_at(store, i)), share);
		s.all += excess;
		if (excess <= s.excess) continue;
		s.excess = excess;
		s.payer = i;
	}
	return s;
}

bool kms_share_pays(const store_namespace *ns, uint64_t wanted)
{
	kms_store *store = ns->store;
	uint64_t share = store->config.max_total_bytes / kms_namespace_count(store);
	return kms_share_survey(store, ns->index, share).excess <= kms_share_excess(wanted, share);
}
