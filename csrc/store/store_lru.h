/* The list of a namespace's live records by last use. */
#ifndef KMS_STORE_STORE_LRU_H
#define KMS_STORE_STORE_LRU_H

#include "store/store_namespace.h"

/* Adds a record as the one used last. */
static inline void kms_lru_add(store_namespace *ns, store_record *record)
{
	record->newer = NULL;
	record->older = ns->newest;
	if (ns->newest)
		ns->newest->newer = record;
	else
		ns->oldest = record;
	ns->newest = record;
}

static inline void kms_lru_remove(store_namespace *ns, store_record *record)
{
	if (record->newer)
		record->newer->older = record->older;
	else
		ns->newest = record->older;
	if (record->older)
		record->older->newer = record->newer;
	else
		ns->oldest = record->newer;
	record->newer = record->older = NULL;
}

/* Marks a record of the list as the one used last. */
static inline void kms_lru_use(store_namespace *ns, store_record *record)
{
	if (ns->newest == record) return;
	kms_lru_remove(ns, record);
	kms_lru_add(ns, record);
}

#endif
