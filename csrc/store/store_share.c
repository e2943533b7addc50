#include "store/store_share.h"

#include "store/store_internal.h"

/* The part of a limit that records from peers may use. */
static uint64_t part_for_peers(uint64_t max)
{
	return max - max / 8;
}

store_allowance kms_share_allowance(kms_store *store, uint32_t origin)
{
	const kms_store_config *config = &store->config;
	if (origin == 0) return (store_allowance){ config->max_total_bytes, config->max_namespaces, false };
	uint64_t held = atomic_load(&store->totals.bytes), part = part_for_peers(config->max_total_bytes);
	return (store_allowance){ held > part ? held : part, part_for_peers(config->max_namespaces), false };
}

uint64_t kms_share_of(kms_store *store, const store_allowance *allowance, size_t more)
{
	size_t count = kms_namespace_count(store) + more;
	return allowance->bytes / (count ? count : 1);
}

share_survey kms_share_survey(kms_store *store, size_t self, uint64_t share)
{
	share_survey s = { SIZE_MAX, 0, 0 };
	size_t made = kms_namespace_made(store);
	for (size_t i = 0; i < made; i++) {
		uint64_t excess =
		    i == self ? 0 : kms_share_excess(kms_share_held(kms_namespace_at(store, i)), share);
		s.all += excess;
		if (excess <= s.excess) continue;
		s.excess = excess;
		s.payer = i;
	}
	return s;
}

bool kms_share_pays(const store_namespace *ns, uint64_t wanted, uint64_t share)
{
	return kms_share_survey(ns->store, ns->index, share).excess <= kms_share_excess(wanted, share);
}
