#include "store/store_members.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/ensure.h"

#define MAX_MEMBERS 65536u

static int compare_wallets(const void *a, const void *b)
{
	return memcmp(a, b, 20);
}

void kms_members_init(store_members *members, const uint8_t self20[20])
{
	*members = (store_members){ .count = 0 };
	memcpy(members->self20, self20, 20);
	pthread_mutex_init(&members->lock, NULL);
}

void kms_members_free(store_members *members)
{
	kms_heap_free(members->wallets);
	pthread_mutex_destroy(&members->lock);
}

kms_status kms_members_set(store_members *members, const uint8_t (*wallets)[20], size_t count)
{
	ENSURE(count <= MAX_MEMBERS, KMS_ERR_RANGE);
	uint8_t(*sorted)[20] = count ? kms_heap_alloc(count, sizeof(*sorted)) : NULL;
	ENSURE(sorted || count == 0, KMS_ERR_MEMORY);
	if (sorted) {
		memcpy(sorted, wallets, count * sizeof(*sorted));
		qsort(sorted, count, sizeof(*sorted), compare_wallets);
	}
	pthread_mutex_lock(&members->lock);
	void *old = members->wallets;
	members->wallets = sorted;
	members->count = count;
	pthread_mutex_unlock(&members->lock);
	kms_heap_free(old);
	return KMS_OK;
}

bool kms_members_is_self(const store_members *members, const uint8_t wallet20[20])
{
	return memcmp(wallet20, members->self20, 20) == 0;
}

void kms_members_mark(bool *marks, store_members *members, kms_clock clock)
{
	pthread_mutex_lock(&members->lock);
	for (size_t i = 0; i < clock.len; i++) {
		const uint8_t *wallet20 = clock.entries[i].wallet20;
		marks[i] = kms_members_is_self(members, wallet20);
		if (members->count > 0)
			marks[i] |=
			    bsearch(wallet20, members->wallets, members->count, 20, compare_wallets) != NULL;
	}
	pthread_mutex_unlock(&members->lock);
}
