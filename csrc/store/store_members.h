/* Wallets of this node and the members of the cluster: their entries in clocks outlive those of strangers. */
#ifndef KMS_STORE_STORE_MEMBERS_H
#define KMS_STORE_STORE_MEMBERS_H

#include <pthread.h>

#include "kms/store.h"

typedef struct store_members {
	uint8_t self20[20];
	pthread_mutex_t lock;
	uint8_t (*wallets)[20]; /* sorted */
	size_t count;
} store_members;

void kms_members_init(store_members *members, const uint8_t self20[20]);
void kms_members_free(store_members *members);
/* Replaces the list by a sorted copy of `wallets`: ERR_RANGE, ERR_MEMORY. */
kms_status kms_members_set(store_members *members, const uint8_t (*wallets)[20], size_t count);
/* Sets marks[i] to whether entry i of the clock belongs to this node or to a member. */
void kms_members_mark(bool *marks, store_members *members, kms_clock clock);
bool kms_members_is_self(const store_members *members, const uint8_t wallet20[20]);

#endif
