#include "store/store_lru.h"

void kms_lru_add(store_namespace *ns, store_record *record)
{
	record->newer = NULL;
	record->older = ns->newest;
	if (ns->newest)
		ns->newest->newer = record;
	else
		ns->oldest = record;
	ns->newest = record;
}

void kms_lru_remove(store_namespace *ns, store_record *record)
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

void kms_lru_use(store_namespace *ns, store_record *record)
{
	if (ns->newest == record) return;
	kms_lru_remove(ns, record);
	kms_lru_add(ns, record);
}
