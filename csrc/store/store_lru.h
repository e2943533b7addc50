/* The list of a namespace's live records by last use. */
#ifndef KMS_STORE_STORE_LRU_H
#define KMS_STORE_STORE_LRU_H

#include "store/store_namespace.h"

/* Adds a record as the one used last. */
void kms_lru_add(store_namespace *ns, store_record *record);
void kms_lru_remove(store_namespace *ns, store_record *record);
/* Marks a record of the list as the one used last. */
void kms_lru_use(store_namespace *ns, store_record *record);

#endif
