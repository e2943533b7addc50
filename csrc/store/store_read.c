/* Reading one record: get, peek. Keys: store_list.c. Changes: store_changes.c. */
#include "base/ensure.h"
#include "store/store_internal.h"
#include "store/store_lru.h"
#include "store/store_state.h"

/* ---- get ---- */

static kms_status get_locked(uint64_t *updated_at_ms, kms_buf *ciphertext, store_namespace *ns, kms_text key,
			     uint64_t now_ms)
{
	store_record *record = kms_record_live(ns, key, now_ms);
	ENSURE(record, KMS_ERR_NOT_FOUND);
	GUARD(kms_buf_append(ciphertext, kms_span_of(record->value, record->value_len)));
	kms_lru_use(ns, record);
	*updated_at_ms = record->updated_at_ms;
	return KMS_OK;
}

kms_status kms_store_get(uint64_t *updated_at_ms, kms_buf *ciphertext, kms_store *store, uint64_t app_id,
			 kms_text key, uint64_t now_ms)
{
	ENSURE_REF(updated_at_ms);
	*updated_at_ms = 0;
	ENSURE_REF(ciphertext);
	ENSURE_REF(store);
	ENSURE_REF(key.text);
	store_namespace *ns = kms_namespace_enter(store, app_id);
	ENSURE(ns, KMS_ERR_NOT_FOUND);
	kms_status status = get_locked(updated_at_ms, ciphertext, ns, key, now_ms);
	kms_namespace_unlock(ns);
	return status;
}

/* ---- peek ---- */

static kms_status peek_locked(store_namespace *ns, kms_text key, uint64_t now_ms,
			      kms_store_record_visitor visit, void *context)
{
	kms_record view;
	const store_record *record = kms_record_current(ns, kms_store_hash(ns->store, key), key, now_ms);
	ENSURE(record, KMS_ERR_NOT_FOUND);
	kms_record_view(&view, record);
	return visit(context, &view);
}

kms_status kms_store_peek(kms_store *store, uint64_t app_id, kms_text key, uint64_t now_ms,
			  kms_store_record_visitor visit, void *context)
{
	ENSURE_REF(store);
	ENSURE_REF(key.text);
	ENSURE_REF(visit);
	store_namespace *ns = kms_namespace_enter(store, app_id);
	ENSURE(ns, KMS_ERR_NOT_FOUND);
	kms_status status = peek_locked(ns, key, now_ms, visit, context);
	kms_namespace_unlock(ns);
	return status;
}
