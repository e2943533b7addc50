/* One record of a sync message. */
#include "base/ensure.h"
#include "sync/sync_internal.h"
#include "kms/codec.h"

/* Where in the message's text. */
static uint32_t offset_of(const kms_sync *message, const void *at)
{
	return (uint32_t)((const uint8_t *)at - message->plain.data);
}

static bool read_key(sync_entry *entry, const kms_sync *message, const kms_json *json)
{
	const kms_json_value *key = kms_json_get(json, json->values, "key");
	ENSURE(key && key->type == KMS_JSON_STRING, false);
	entry->key_at = offset_of(message, key->text);
	entry->key_len = (uint32_t)key->len;
	return true;
}

static bool read_flag(bool *flag, const kms_json *json, const char *name)
{
	const kms_json_value *value = kms_json_get(json, json->values, name);
	*flag = value && value->type == KMS_JSON_TRUE;
	return !value || value->type == KMS_JSON_TRUE || value->type == KMS_JSON_FALSE;
}

static bool read_value(sync_entry *entry, const kms_sync *message, const kms_json *json)
{
	bool tombstone;
	size_t len;
	const kms_json_value *value = kms_json_get(json, json->values, "value");
	ENSURE(value && read_flag(&tombstone, json, "tombstone"), false);
	entry->state = tombstone ? KMS_RECORD_TOMBSTONE : KMS_RECORD_STUB;
	if (value->type == KMS_JSON_NULL) return true;
	ENSURE(!tombstone && value->type == KMS_JSON_STRING, false);
	ENSURE(kms_hex_decode_in_place(&len, value->text, value->len) == KMS_OK, false);
	entry->state = KMS_RECORD_LIVE;
	entry->value_at = offset_of(message, value->text);
	entry->value_len = (uint32_t)len;
	return true;
}

static bool read_number(uint64_t *number, const kms_json *json, const char *name)
{
	const kms_json_value *value = kms_json_get(json, json->values, name);
	*number = 0;
	if (!value) return true;
	ENSURE(value->type == KMS_JSON_INTEGER && !value->negative, false);
	*number = value->number;
	return true;
}

/* Where entries may stand, from a member's name on. */
static kms_clock_entry *align_entries(char *text)
{
	size_t past = (uintptr_t)text % _Alignof(kms_clock_entry);
	return (kms_clock_entry *)(void *)(past ? text + _Alignof(kms_clock_entry) - past : text);
}

/*
 * Writes the entries over the names that they were read from. A name has 40 characters at least
 * and five of punctuation and number follow it; an entry has 32 bytes and begins at most seven
 * after the first name: so each ends before the next name begins.
 */
_Static_assert(sizeof(kms_clock_entry) == 32, "an entry fits in place of its text");

static bool read_clock(sync_entry *entry, const kms_sync *message, const kms_json *json)
{
	const kms_json_value *version = kms_json_get(json, json->values, "version");
	ENSURE(version && version->type == KMS_JSON_OBJECT, false);
	/* The store takes neither an empty one nor a longer one: nothing is kept for those. */
	ENSURE(version->count >= 1 && version->count <= KMS_STORE_MAX_CLOCK, false);
	const kms_json_value *name = kms_json_first(json, version);
	kms_clock_entry *clock = align_entries(name->text);
	for (uint32_t i = 0; i < version->count; i++) {
		kms_clock_entry made = { .counter = name[1].number };
		ENSURE(name[1].type == KMS_JSON_INTEGER && !name[1].negative, false);
		ENSURE(kms_address_parse(made.wallet20, name->text, name->len) == KMS_OK, false);
		clock[i] = made;
		name = kms_json_next(json, name + 1);
	}
	entry->clock_at = offset_of(message, clock);
	entry->clock_len = (uint16_t)version->count;
	return true;
}

bool kms_sync_record_read(sync_entry *entry, const kms_sync *message, const kms_json *json)
{
	*entry = (sync_entry){ 0 };
	ENSURE(json->values[0].type == KMS_JSON_OBJECT, false);
	return read_key(entry, message, json) && read_value(entry, message, json) &&
	       read_number(&entry->updated_at_ms, json, "updated_at_ms") &&
	       read_number(&entry->ttl_ms, json, "ttl_ms") && read_clock(entry, message, json);
}

void kms_sync_record_view(kms_record *record, const kms_sync *message, const sync_entry *entry)
{
	const uint8_t *text = message->plain.data;
	bool live = entry->state == KMS_RECORD_LIVE;
	*record = (kms_record){
		.key = (const char *)text + entry->key_at,
		.key_len = entry->key_len,
		.value = live ? text + entry->value_at : NULL,
		.value_len = entry->value_len,
		.clock = (const kms_clock_entry *)(const void *)(text + entry->clock_at),
		.clock_len = entry->clock_len,
		.updated_at_ms = entry->updated_at_ms,
		.ttl_ms = entry->ttl_ms,
		.state = (kms_record_state)entry->state,
	};
}

/* The application of an entry: the first whose entries end behind it. */
static const sync_app *app_of(const kms_sync *message, size_t index)
{
	size_t low = 0, high = message->app_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (message->apps[middle].end > index)
			high = middle;
		else
			low = middle + 1;
	}
	return &message->apps[low];
}

bool kms_sync_record(kms_record *record, uint64_t *app_id, const kms_sync *message, size_t index)
{
	ENSURE(record && app_id && message && index < message->entry_count, false);
	kms_sync_record_view(record, message, &message->entries[index]);
	*app_id = app_of(message, index)->app_id;
	return true;
}

void kms_sync_refuse(kms_sync *message, size_t index)
{
	if (message && index < message->entry_count) message->entries[index].refused = true;
}
