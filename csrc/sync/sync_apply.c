/* Merging the records of a sync message. */
#include "base/ensure.h"
#include "sync/sync_internal.h"
#include "kms/codec.h"
#include "kms/value_seal.h"

typedef struct applier {
	kms_sync_counts *counts;
	const kms_sync *message;
	kms_store *store;
	const kms_secret *master32;
	uint32_t origin;
	uint64_t now_ms;
	bool settles;
	bool repairs; /* the message belongs to a repair */
} applier;

/* Whether the sender, too, settles versions with equal clocks. */
static bool is_settler(const kms_sync *message)
{
	kms_text feature;
	if (message->settles) return true;
	for (size_t i = 0; (feature = kms_sync_feature(message, i)).text; i++) {
		if (kms_text_compare(feature, KMS_TEXT("fingerprint")) == 0) return true;
	}
	return false;
}

/* Whether only this record failed, for itself or for a full store: others may still be merged. */
static bool is_about_record(kms_status status)
{
	return kms_status_category(status) == KMS_CATEGORY_INPUT || status == KMS_ERR_STORE_FULL ||
	       status == KMS_ERR_NAMESPACES;
}

static kms_status count_failure(kms_sync_counts *counts, kms_status status)
{
	ENSURE(is_about_record(status), status);
	counts->total++;
	counts->rejected++;
	counts->later += kms_merge_is_later(status);
	counts->future += status == KMS_ERR_FUTURE;
	counts->poisoned += status == KMS_ERR_DECRYPT;
	return KMS_OK;
}

static void count_outcome(kms_sync_counts *counts, kms_merge outcome)
{
	bool merged = outcome == KMS_MERGE_INSERTED || outcome == KMS_MERGE_REPLACED_BY_VERSION ||
		      outcome == KMS_MERGE_REPLACED_BY_CONCURRENT_LWW;
	counts->total++;
	counts->merged += merged;
	counts->skipped += !merged;
	counts->outcomes[outcome]++;
}

/* Checked first: nothing about a record that is not authentic is reported, not even its stamp. */
static kms_status verify(const applier *a, kms_secret **data_key, uint64_t app_id, const kms_record *record)
{
	if (record->state != KMS_RECORD_LIVE) return KMS_OK;
	if (!*data_key) GUARD(kms_data_key(data_key, a->master32, app_id));
	return kms_value_verify(*data_key, record->value);
}

static void count_marked(kms_sync_counts *counts, uint8_t mark)
{
	counts->total++;
	counts->rejected++;
	counts->refused += mark == SYNC_REFUSED;
	counts->later += mark == SYNC_DEFERRED;
}

/* Counts the entries of an application that may not get a namespace. */
static void count_deferred(const applier *a, size_t from, size_t end)
{
	for (size_t i = from; i < end; i++) {
		uint8_t mark = a->message->entries[i].mark;
		count_marked(a->counts, mark == SYNC_ACCEPTED ? (uint8_t)SYNC_DEFERRED : mark);
	}
}

static void count_empty_stub(kms_sync_counts *counts)
{
	counts->total++;
	counts->skipped++;
	counts->stubs++;
}

/* A version that may not be held here is kept as a stub, and counted as refused. */
static kms_status repair_entry(const applier *a, kms_secret **data_key, uint64_t app_id,
			       const kms_record *record, bool refused)
{
	bool without_value;
	kms_merge outcome;
	kms_status status = verify(a, data_key, app_id, record);
	if (status == KMS_OK)
		status =
		    kms_store_repair(&outcome, &without_value, a->store, app_id, record, refused, a->now_ms);
	if (status != KMS_OK) return count_failure(a->counts, status);
	if (without_value)
		count_marked(a->counts, SYNC_REFUSED);
	else
		count_outcome(a->counts, outcome);
	return KMS_OK;
}

static kms_status merge(kms_merge *outcome, const applier *a, uint64_t app_id, const kms_record *record)
{
	return a->settles ? kms_store_settle(outcome, a->store, app_id, record, a->now_ms)
			  : kms_store_merge(outcome, a->store, app_id, record, a->now_ms);
}

static kms_status apply_entry(const applier *a, kms_secret **data_key, uint64_t app_id,
			      const sync_entry *entry)
{
	kms_record record;
	kms_merge outcome = KMS_MERGE_REJECTED;
	bool kept_as_stub = a->repairs && entry->mark == SYNC_REFUSED;
	if (entry->mark != SYNC_ACCEPTED && !kept_as_stub) {
		count_marked(a->counts, entry->mark);
		return KMS_OK;
	}
	kms_sync_record_view(&record, a->message, entry);
	record.origin = a->origin;
	if (record.state == KMS_RECORD_STUB && record.fingerprint.len == 0) {
		count_empty_stub(a->counts);
		return KMS_OK;
	}
	if (a->repairs) return repair_entry(a, data_key, app_id, &record, kept_as_stub);
	kms_status status = verify(a, data_key, app_id, &record);
	if (status == KMS_OK) status = merge(&outcome, a, app_id, &record);
	if (status != KMS_OK) return count_failure(a->counts, status);
	count_outcome(a->counts, outcome);
	return KMS_OK;
}

/* Applies the entries of one application, whose data key is derived once. */
static kms_status apply_app(const applier *a, uint64_t app_id, size_t from, size_t end)
{
	DEFER(kms_secret_release) kms_secret *data_key = NULL;
	for (size_t i = from; i < end; i++)
		GUARD(apply_entry(a, &data_key, app_id, &a->message->entries[i]));
	return KMS_OK;
}

bool kms_sync_new_app(kms_sync_app_walk *walk, const kms_sync *message, kms_store *store)
{
	ENSURE(walk && message && store, false);
	for (; walk->index < message->app_count && walk->steps > 0; walk->index++, walk->steps--) {
		walk->app_id = message->apps[walk->index].app_id;
		if (!kms_store_has_app(store, walk->app_id)) return true;
	}
	return false;
}

size_t kms_sync_apps(const kms_sync *message)
{
	return message ? message->app_count : 0;
}

void kms_sync_admit(kms_sync *message, size_t index)
{
	if (message && index < message->app_count) message->apps[index].admitted = true;
}

kms_status kms_sync_apply(kms_sync_counts *counts, const kms_sync *message, kms_store *store,
			  const kms_secret *master32, uint32_t origin, uint64_t now_ms)
{
	ENSURE_REF(counts);
	*counts = (kms_sync_counts){ 0 };
	ENSURE_REF(message);
	ENSURE_REF(store);
	ENSURE_REF(master32);
	ENSURE(origin != 0, KMS_ERR_RANGE);
	ENSURE(kms_secret_len(master32) == KMS_MASTER_BYTES, KMS_ERR_RANGE);
	bool repairs = message->texts[KMS_SYNC_DIGEST].text != NULL;
	applier a = { counts, message, store, master32, origin, now_ms, is_settler(message), repairs };
	counts->total = counts->rejected = message->malformed;
	size_t from = 0;
	for (size_t i = 0; i < message->app_count; i++) {
		const sync_app *app = &message->apps[i];
		if (app->admitted || kms_store_has_app(store, app->app_id))
			GUARD(apply_app(&a, app->app_id, from, app->end));
		else
			count_deferred(&a, from, app->end);
		from = app->end;
	}
	return KMS_OK;
}

void kms_sync_set_settles(kms_sync *message)
{
	if (message) message->settles = true;
}
