/* Parsing a sync message. Its records: sync_records.c. */
#include <string.h>

#include "base/mem.h"
#include "base/ensure.h"
#include "sync/sync_internal.h"
#include "kms/codec.h"

#define SEALED_BYTES 48

/* Known members: texts and numbers first, in the order of kms/sync.h. */
typedef enum member {
	MEMBER_TEXTS = 0,
	MEMBER_NUMBERS = KMS_SYNC_TEXTS,
	MEMBER_COMPLETE = KMS_SYNC_TEXTS + KMS_SYNC_NUMBERS,
	MEMBER_FEATURES,
	MEMBER_SEALED,
	MEMBER_SKIP_REASONS,
	MEMBER_DATA,
	MEMBER_APP_ID,
	MEMBERS,
} member;

static const char *const member_names[MEMBERS] = {
	[KMS_SYNC_TYPE] = "type",
	[KMS_SYNC_SENDER_WALLET] = "sender_wallet",
	[KMS_SYNC_POP] = "pop",
	[KMS_SYNC_ECDH_PUBKEY] = "ecdh_pubkey",
	[KMS_SYNC_STATUS] = "status",
	[KMS_SYNC_STORE] = "store",
	[KMS_SYNC_ATTESTATION] = "attestation",
	[KMS_SYNC_DIGEST] = "digest",
	[KMS_SYNC_MAC] = "mac",
	[MEMBER_NUMBERS + KMS_SYNC_TOTAL] = "total",
	[MEMBER_NUMBERS + KMS_SYNC_MERGED] = "merged",
	[MEMBER_NUMBERS + KMS_SYNC_SKIPPED] = "skipped",
	[MEMBER_NUMBERS + KMS_SYNC_REJECTED] = "rejected",
	[MEMBER_NUMBERS + KMS_SYNC_FUTURE] = "future",
	[MEMBER_NUMBERS + KMS_SYNC_LATER] = "later",
	[MEMBER_NUMBERS + KMS_SYNC_TIME] = "time",
	[MEMBER_NUMBERS + KMS_SYNC_SINCE] = "since",
	[MEMBER_NUMBERS + KMS_SYNC_UNTIL] = "until",
	[MEMBER_NUMBERS + KMS_SYNC_SEQUENCE] = "sequence",
	[MEMBER_NUMBERS + KMS_SYNC_MAX_BYTES] = "max_bytes",
	[MEMBER_COMPLETE] = "complete",
	[MEMBER_FEATURES] = "features",
	[MEMBER_SEALED] = "sealed",
	[MEMBER_SKIP_REASONS] = "skip_reasons",
	[MEMBER_DATA] = "data",
	[MEMBER_APP_ID] = "app_id",
};

KMS_DEFINE_RELEASE(sync_release, kms_sync, kms_sync_free)

const char *kms_sync_text_member(kms_sync_text_name name)
{
	return (size_t)name < KMS_SYNC_TEXTS ? member_names[MEMBER_TEXTS + name] : "";
}

const char *kms_sync_number_member(kms_sync_number_name name)
{
	return (size_t)name < KMS_SYNC_NUMBERS ? member_names[MEMBER_NUMBERS + name] : "";
}

/* ---- single members ---- */

static kms_status read_text_of(kms_text *text, const kms_json_value *value, size_t max)
{
	ENSURE(value->type == KMS_JSON_STRING, KMS_ERR_FIELD_TYPE);
	ENSURE(value->len <= max, KMS_ERR_FIELD_VALUE);
	*text = (kms_text){ value->text, value->len };
	return KMS_OK;
}

static kms_status read_text(kms_text *text, const kms_json_value *value)
{
	return read_text_of(text, value, KMS_SYNC_MAX_TEXT);
}

static kms_status read_number(kms_sync *message, size_t index, const kms_json_value *value)
{
	ENSURE(value->type == KMS_JSON_INTEGER, KMS_ERR_FIELD_TYPE);
	ENSURE(!value->negative && value->number <= INT64_MAX, KMS_ERR_FIELD_VALUE);
	message->numbers[index] = value->number;
	message->has_number[index] = true;
	return KMS_OK;
}

static kms_status read_complete(kms_sync *message, const kms_json_value *value)
{
	ENSURE(value->type == KMS_JSON_TRUE || value->type == KMS_JSON_FALSE, KMS_ERR_FIELD_TYPE);
	message->has_complete = true;
	message->complete = value->type == KMS_JSON_TRUE;
	return KMS_OK;
}

static kms_status read_features(kms_sync *message, const kms_json *json)
{
	const kms_json_value *list = json->values, *item = kms_json_first(json, list);
	ENSURE(list->type == KMS_JSON_ARRAY, KMS_ERR_FIELD_TYPE);
	ENSURE(list->count <= KMS_SYNC_MAX_FEATURES, KMS_ERR_FIELD_VALUE);
	for (uint32_t i = 0; i < list->count; i++, item = kms_json_next(json, item))
		GUARD(read_text(&message->features[i], item));
	message->feature_count = list->count;
	return KMS_OK;
}

/* A member of "sealed"; stays absent if it is. */
static kms_status read_sealed_text(kms_text *text, const kms_json *json, const char *name)
{
	const kms_json_value *value = kms_json_get(json, json->values, name);
	return value ? read_text(text, value) : KMS_OK;
}

static kms_status read_sealed(kms_sync *message, const kms_json *json)
{
	ENSURE(json->values->type == KMS_JSON_OBJECT, KMS_ERR_FIELD_TYPE);
	GUARD(read_sealed_text(&message->sealed.ephemeral_pubkey, json, "ephemeral_pubkey"));
	GUARD(read_sealed_text(&message->sealed.encrypted_data, json, "encrypted_data"));
	return read_sealed_text(&message->sealed.nonce, json, "nonce");
}

/* ---- the message ---- */

/* The member of this name, or MEMBERS. */
static member find_member(const kms_json_value *name)
{
	size_t i = 0;
	while (i < MEMBERS && kms_text_compare(kms_json_text(name), kms_text_from(member_names[i])) != 0)
		i++;
	return (member)i;
}

static size_t max_text(size_t name)
{
	if (name == KMS_SYNC_ATTESTATION) return KMS_SYNC_MAX_ATTESTATION;
	return name == KMS_SYNC_DIGEST ? KMS_SYNC_MAX_DIGEST : KMS_SYNC_MAX_TEXT;
}

static kms_status read_value(kms_sync *message, kms_json_cursor *cursor, member which)
{
	if (which == MEMBER_DATA) return kms_sync_data_read(message, cursor);
	GUARD(kms_json_cursor_read(cursor, KMS_SYNC_MAX_VALUES));
	const kms_json *json = &cursor->json;
	if (which < MEMBER_NUMBERS)
		return read_text_of(&message->texts[which], json->values, max_text((size_t)which));
	if (which < MEMBER_COMPLETE) return read_number(message, which - MEMBER_NUMBERS, json->values);
	if (which == MEMBER_COMPLETE) return read_complete(message, json->values);
	if (which == MEMBER_FEATURES) return read_features(message, json);
	if (which == MEMBER_SEALED) return read_sealed(message, json);
	if (which == MEMBER_SKIP_REASONS) ENSURE(json->values->type == KMS_JSON_OBJECT, KMS_ERR_FIELD_TYPE);
	/* Only replies of other routes have it: one that is sent back is not taken for a message. */
	ENSURE(which != MEMBER_APP_ID, KMS_ERR_APP_ID_IN_REQUEST);
	return KMS_OK;
}

static kms_status check_new(const kms_json_value *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		ENSURE(kms_text_compare(kms_json_text(&names[i]), kms_json_text(&names[count])) != 0,
		       KMS_ERR_JSON_DUPLICATE);
	return KMS_OK;
}

static kms_status read_members(kms_sync *message, const char **field, kms_json_cursor *cursor)
{
	bool more;
	kms_json_value names[KMS_SYNC_MAX_MEMBERS];
	GUARD(kms_json_cursor_enter(cursor, '{'));
	for (size_t count = 0;; count++) {
		GUARD(kms_json_cursor_next(&more, cursor, '}'));
		if (!more) return KMS_OK;
		ENSURE(count < KMS_SYNC_MAX_MEMBERS, KMS_ERR_JSON_SIZE);
		GUARD(kms_json_cursor_name(&names[count], cursor));
		GUARD(check_new(names, count));
		member which = find_member(&names[count]);
		*field = which < MEMBERS ? member_names[which] : NULL;
		GUARD(read_value(message, cursor, which));
		*field = NULL;
	}
}

static kms_status read_message(kms_sync *message, const char **field)
{
	const kms_buf *plain = &message->plain;
	ENSURE(plain->kind == KMS_BUF_WIPED, KMS_ERR_ARGUMENT);
	ENSURE(plain->len > 0, KMS_ERR_JSON);
	ENSURE(plain->len <= UINT32_MAX, KMS_ERR_TOO_LARGE);
	DEFER(kms_json_cursor_free)
	kms_json_cursor cursor = kms_json_cursor_make((char *)plain->data, plain->len);
	GUARD(read_members(message, field, &cursor));
	return kms_json_cursor_end(&cursor);
}

static kms_status parse(kms_sync **message, const char **field, kms_buf *plain, bool base64)
{
	ENSURE_REF(message);
	*message = NULL;
	ENSURE_REF(field);
	*field = NULL;
	ENSURE_REF(plain);
	DEFER(sync_release) kms_sync *made = kms_heap_alloc(1, sizeof(*made));
	if (!made) kms_buf_free(plain);
	ENSURE(made, KMS_ERR_MEMORY);
	made->plain = *plain;
	made->base64 = base64;
	*plain = kms_buf_make(plain->kind, plain->max);
	GUARD(read_message(made, field));
	*message = made;
	made = NULL;
	return KMS_OK;
}

kms_status kms_sync_parse(kms_sync **message, const char **field, kms_buf *plain)
{
	return parse(message, field, plain, false);
}

kms_status kms_sync_parse_base64(kms_sync **message, const char **field, kms_buf *plain)
{
	return parse(message, field, plain, true);
}

void kms_sync_free(kms_sync *message)
{
	if (!message) return;
	kms_buf_free(&message->plain);
	kms_heap_free(message->entries);
	kms_heap_free(message->apps);
	kms_heap_free(message);
}

/* ---- access ---- */

kms_text kms_sync_text(const kms_sync *message, kms_sync_text_name name)
{
	return (size_t)name < KMS_SYNC_TEXTS ? message->texts[name] : (kms_text){ NULL, 0 };
}

bool kms_sync_number(uint64_t *number, const kms_sync *message, kms_sync_number_name name)
{
	*number = 0;
	ENSURE((size_t)name < KMS_SYNC_NUMBERS && message->has_number[name], false);
	*number = message->numbers[name];
	return true;
}

bool kms_sync_complete(bool *complete, const kms_sync *message)
{
	*complete = message->complete;
	return message->has_complete;
}

bool kms_sync_has_data(const kms_sync *message)
{
	return message->has_data;
}

uint64_t kms_sync_records(const kms_sync *message)
{
	return message->entry_count + message->malformed;
}

kms_text kms_sync_feature(const kms_sync *message, size_t index)
{
	return index < message->feature_count ? message->features[index] : (kms_text){ NULL, 0 };
}

kms_status kms_sync_unseal(kms_secret **master32, const kms_sync *message, const kms_p384 *requester)
{
	kms_sealed sealed;
	ENSURE_REF(master32);
	*master32 = NULL;
	ENSURE_REF(message);
	const sync_sealed *texts = &message->sealed;
	ENSURE(texts->ephemeral_pubkey.text && texts->encrypted_data.text && texts->nonce.text,
	       KMS_ERR_FIELD_MISSING);
	GUARD(kms_hex_decode(KMS_OUT(sealed.iv12), texts->nonce));
	GUARD(kms_hex_decode(kms_out_of(sealed.data48, SEALED_BYTES), texts->encrypted_data));
	GUARD(kms_p384_point_from_hex(sealed.ephemeral_point97, texts->ephemeral_pubkey));
	return kms_master_unseal(master32, &sealed, requester);
}
