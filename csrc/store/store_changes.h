/* The list of a namespace's records by the number of their last change. */
#ifndef KMS_STORE_STORE_CHANGES_H
#define KMS_STORE_STORE_CHANGES_H

#include "store/store_namespace.h"

/* Numbers a change of the record and adds it at the end. */
void kms_change_add(store_namespace *ns, store_record *record);
void kms_change_remove(store_namespace *ns, store_record *record);
/* The first change numbered above `since`; NULL: none. */
store_record *kms_change_first_above(const store_namespace *ns, uint64_t since);

#endif
