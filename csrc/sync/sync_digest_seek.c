/*
 * Values that no digest asks for. A stub that a member gave is the same version as the value that another one
 * still holds, so their digests are equal. An exchange therefore asks for the values of such stubs by name:
 * if a third member lost its value, the value would otherwise be gone with the last member that has it.
 */
#include <string.h>

#include "base/ensure.h"
#include "base/mem.h"
#include "sync/sync_digest_asking.h"
#include "sync/sync_page.h"

/* One stub, copied while its namespace is locked. */
typedef struct stub_copy {
	kms_record stub; /* its key is in `key` */
	kms_buf key;
	bool found;
	kms_status status;
} stub_copy;

static void stub_copy_free(stub_copy *copy)
{
	kms_buf_free(&copy->key);
}

static bool copy_stub(void *context, const kms_record *record)
{
	stub_copy *copy = context;
	if (!record->sought) return false;
	copy->status = kms_buf_append(&copy->key, kms_text_span(record->key));
	copy->stub = (kms_record){ .updated_at_ms = record->updated_at_ms, .ttl_ms = record->ttl_ms };
	copy->found = true;
	return false;
}

/* Adds the version of one change to those that are wanted, unless it has changed meanwhile. */
static kms_status seek(kms_digest *d, uint64_t app_id, uint64_t sequence)
{
	kms_tree_range range;
	digest_short name;
	uint8_t leaf[KMS_TREE_DIGEST];
	DEFER(stub_copy_free) stub_copy copy = { .key = kms_buf_make(KMS_BUF_PLAIN, SIZE_MAX) };
	kms_changes_walk walk = { .app_id = app_id,
				  .since = sequence - 1,
				  .until = sequence,
				  .max = 1,
				  .reader = KMS_CHANGES_SEEK };
	(void)kms_store_changes_step(&walk, d->store, copy_stub, &copy);
	GUARD(copy.status);
	if (!copy.found) return KMS_OK;
	copy.stub.key = kms_text_of((const char *)copy.key.data, copy.key.len);
	kms_status status = kms_tree_find(&range, leaf, d->store, app_id, &copy.stub);
	if (status == KMS_ERR_NOT_FOUND) return KMS_OK;
	GUARD(status);
	kms_digest_shorten(name, &d->salt, leaf);
	return kms_digest_add_version(&d->wanted, &range, name);
}

kms_status kms_digest_seek(uint64_t *until, kms_digest *digest, uint64_t since)
{
	ENSURE_REF(until);
	*until = since;
	ENSURE_REF(digest);
	ENSURE(!digest->last, KMS_ERR_STATE);
	DEFER(kms_sync_page_free) sync_page page = { 0 };
	const kms_delta_options options = { .since = since,
					    .max_records = KMS_DIGEST_SEEK_MAX,
					    .max_bytes = SIZE_MAX,
					    .max_record_bytes = SIZE_MAX,
					    .sought = true };
	GUARD(kms_sync_page_choose(&page, digest->store, &options));
	for (size_t i = 0; i < page.count; i++)
		GUARD(seek(digest, page.app_ids[page.changes[i].app], page.changes[i].sequence));
	digest->sought = digest->wanted.count;
	*until = page.until;
	return KMS_OK;
}
