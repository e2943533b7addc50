#include "store/store_collect.h"

#include "base/ensure.h"
#include "store/store_evict.h"
#include "store/store_internal.h"
#include "store/store_share.h"

#define BATCH_SHARE 4096 /* at least that part of the total is freed at once: what follows finds room */
#define TURN 256         /* records that a namespace gives up before others have their turn */
#define SLACK 16384 /* bytes that a write may take besides key and value: clock, index, a new namespace */

/*
 * Makes one namespace give up this many bytes, but nothing once it holds no more than its share: others may
 * collect from it at the same time. Returns how many it gave up.
 */
static uint64_t collect_from(store_namespace *ns, uint64_t bytes, uint64_t share, uint64_t now_ms)
{
	uint64_t freed = 0;
	for (bool more = true; more && freed < bytes;) {
		uint64_t turn = 0;
		kms_namespace_lock_in_turn(ns);
		for (int i = 0; i < TURN && more && freed + turn < bytes; i++)
			more = ns->stats.total_bytes > share && kms_capacity_give_up(&turn, ns, now_ms);
		(void)kms_store_charge(&ns->store->totals, 0, turn);
		kms_namespace_unlock(ns);
		freed += turn;
	}
	return freed;
}

bool kms_share_collect(kms_store *store, uint64_t app_id, uint64_t wanted, const store_allowance *allowance,
		       uint64_t now_ms)
{
	const store_namespace *self = kms_namespace_find(store, app_id);
	size_t index = self ? self->index : SIZE_MAX;
	uint64_t share = kms_share_of(store, allowance, !self);
	uint64_t own = kms_share_excess((self ? kms_share_held(self) : 0) + wanted, share);
	uint64_t total = atomic_load(&store->totals.bytes) + wanted;
	uint64_t least = kms_share_excess(total, allowance->bytes);
	share_survey s = kms_share_survey(store, index, share);
	ENSURE(s.payer != SIZE_MAX && s.all >= least, false);
	if (s.excess <= own) return true; /* others have paid meanwhile: now the writer is to pay itself */
	uint64_t batch = store->config.max_total_bytes / BATCH_SHARE;
	uint64_t bytes = kms_share_excess(total + SLACK + batch, allowance->bytes);
	if (bytes > s.excess) bytes = s.excess;
	return collect_from(kms_namespace_at(store, s.payer), bytes, share, now_ms) > 0;
}
