/*
 * The records of a sync message: the member "data". They are read one by one, so that JSON values never
 * pile up, and stay where they are in the message's text.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/mem.h"
#include "base/ensure.h"
#include "sync/sync_internal.h"
#include "kms/codec.h"

#define MIN_CAPACITY 16

/* ---- one record ---- */

/* The offset of a part of the message's text. */
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

/* The fingerprint of a dead record; it is optional. */
static bool read_fingerprint(sync_entry *entry, const kms_sync *message, const kms_json *json)
{
	size_t len;
	const kms_json_value *value = kms_json_get(json, json->values, "fingerprint");
	if (!value) return true;
	ENSURE(value->type == KMS_JSON_STRING, false);
	ENSURE(kms_hex_decode_in_place(&len, value->text, value->len) == KMS_OK, false);
	ENSURE(len == KMS_SYNC_FINGERPRINT_BYTES, false);
	entry->value_at = offset_of(message, value->text);
	entry->value_len = (uint32_t)len;
	return true;
}

/* Decodes a value where it stands. */
static kms_status decode_value(size_t *len, const kms_sync *message, const kms_json_value *value)
{
	if (!message->base64) return kms_hex_decode_in_place(len, value->text, value->len);
	return kms_base64_decode((uint8_t *)value->text, len, kms_json_text(value));
}

static bool read_value(sync_entry *entry, const kms_sync *message, const kms_json *json)
{
	bool tombstone;
	size_t len;
	const kms_json_value *value = kms_json_get(json, json->values, "value");
	ENSURE(value && read_flag(&tombstone, json, "tombstone"), false);
	entry->state = tombstone ? KMS_RECORD_TOMBSTONE : KMS_RECORD_STUB;
	if (value->type == KMS_JSON_NULL) return read_fingerprint(entry, message, json);
	ENSURE(!tombstone && value->type == KMS_JSON_STRING, false);
	ENSURE(decode_value(&len, message, value) == KMS_OK, false);
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

/* The first aligned address from a member's name on. */
static kms_clock_entry *align_entries(char *text)
{
	size_t past = (uintptr_t)text % _Alignof(kms_clock_entry);
	return (kms_clock_entry *)(void *)(past ? text + _Alignof(kms_clock_entry) - past : text);
}

/*
 * Clock entries are written over the names that they were read from. A name has at least 40 characters
 * and is followed by at least five of punctuation and number; an entry has 32 bytes, and the first
 * starts at most seven after its name: each ends before the next name starts.
 */
_Static_assert(sizeof(kms_clock_entry) == 32, "an entry fits in place of its text");

static bool read_clock(sync_entry *entry, const kms_sync *message, const kms_json *json)
{
	const kms_json_value *version = kms_json_get(json, json->values, "version");
	ENSURE(version && version->type == KMS_JSON_OBJECT, false);
	/* The store would refuse any other length. */
	ENSURE(version->count >= 1 && version->count <= KMS_STORE_MAX_CLOCK, false);
	const kms_json_value *name = kms_json_first(json, version);
	kms_clock_entry *clock = align_entries(name->text);
	for (uint32_t i = 0; i < version->count; i++) {
		kms_clock_entry made = { .counter = name[1].number };
		ENSURE(name[1].type == KMS_JSON_INTEGER && !name[1].negative, false);
		ENSURE(kms_address_parse(made.wallet20, kms_json_text(name)) == KMS_OK, false);
		clock[i] = made;
		name = kms_json_next(json, name + 1);
	}
	entry->clock_at = offset_of(message, clock);
	entry->clock_len = (uint16_t)version->count;
	return true;
}

static bool read_record(sync_entry *entry, const kms_sync *message, const kms_json *json)
{
	*entry = (sync_entry){ 0 };
	ENSURE(json->values[0].type == KMS_JSON_OBJECT, false);
	ENSURE(read_key(entry, message, json) && read_value(entry, message, json), false);
	ENSURE(read_number(&entry->updated_at_ms, json, "updated_at_ms"), false);
	ENSURE(read_number(&entry->ttl_ms, json, "ttl_ms"), false);
	/* Existing nodes know no longest TTL: this node would go on serving the value before it. */
	if (entry->ttl_ms > KMS_STORE_MAX_TTL_MS) entry->ttl_ms = KMS_STORE_MAX_TTL_MS;
	return read_clock(entry, message, json);
}

static kms_fingerprint fingerprint_of(const sync_entry *entry, const uint8_t *text)
{
	kms_fingerprint made = { .len = 0 };
	if (entry->state == KMS_RECORD_LIVE || entry->value_len == 0) return made;
	const uint8_t *bytes = text + entry->value_at;
	memcpy(made.iv12, bytes, sizeof(made.iv12));
	memcpy(made.tag16, bytes + sizeof(made.iv12), sizeof(made.tag16));
	made.len = kms_load32_be(bytes + sizeof(made.iv12) + sizeof(made.tag16));
	return made;
}

void kms_sync_record_view(kms_record *record, const kms_sync *message, const sync_entry *entry)
{
	const uint8_t *text = message->plain.data;
	bool live = entry->state == KMS_RECORD_LIVE;
	*record = (kms_record){
		.key = kms_text_of((const char *)text + entry->key_at, entry->key_len),
		.value = kms_span_of(live ? text + entry->value_at : NULL, live ? entry->value_len : 0),
		.clock = { (const kms_clock_entry *)(const void *)(text + entry->clock_at),
			   entry->clock_len },
		.updated_at_ms = entry->updated_at_ms,
		.ttl_ms = entry->ttl_ms,
		.state = (kms_record_state)entry->state,
		.fingerprint = fingerprint_of(entry, text),
	};
}

/* ---- "data" ---- */

/* The names of the object's members, to find duplicates. */
typedef struct app_names {
	kms_text *list;
	size_t count;
	size_t capacity;
} app_names;

static void app_names_free(app_names *names)
{
	kms_heap_free(names->list);
}

/* The array with capacity for one more element; NULL without memory, and the array is unchanged. */
static void *grow_array(void *array, size_t *capacity, size_t count, size_t size)
{
	if (count < *capacity) return array;
	size_t wanted = *capacity ? 2 * *capacity : MIN_CAPACITY;
	void *grown = kms_heap_resize(array, wanted * size);
	if (grown) *capacity = wanted;
	return grown;
}

static kms_status add_name(app_names *names, const kms_json_value *name)
{
	ENSURE(names->count < KMS_SYNC_MAX_APPS, KMS_ERR_JSON_SIZE);
	kms_text *list = grow_array(names->list, &names->capacity, names->count, sizeof(*list));
	ENSURE(list, KMS_ERR_MEMORY);
	names->list = list;
	list[names->count++] = kms_json_text(name);
	return KMS_OK;
}

static int compare_names(const void *a, const void *b)
{
	const kms_text *x = a, *y = b;
	return kms_text_compare(*x, *y);
}

static kms_status check_names(const app_names *names)
{
	if (names->count > 1) qsort(names->list, names->count, sizeof(names->list[0]), compare_names);
	for (size_t i = 1; i < names->count; i++)
		ENSURE(compare_names(&names->list[i - 1], &names->list[i]) != 0, KMS_ERR_JSON_DUPLICATE);
	return KMS_OK;
}

static kms_status add_entry(kms_sync *message, const sync_entry *entry)
{
	sync_entry *entries =
	    grow_array(message->entries, &message->entry_capacity, message->entry_count, sizeof(*entries));
	ENSURE(entries, KMS_ERR_MEMORY);
	message->entries = entries;
	entries[message->entry_count++] = *entry;
	return KMS_OK;
}

static kms_status add_app(kms_sync *message, uint64_t app_id)
{
	sync_app *apps = grow_array(message->apps, &message->app_capacity, message->app_count, sizeof(*apps));
	ENSURE(apps, KMS_ERR_MEMORY);
	message->apps = apps;
	apps[message->app_count++] = (sync_app){ app_id, message->entry_count, false };
	return KMS_OK;
}

/* Refuses a value of the wrong type, or for its syntax if that is wrong too. */
static kms_status refuse_value(kms_json_cursor *cursor)
{
	GUARD(kms_json_cursor_read(cursor, KMS_SYNC_MAX_VALUES));
	return KMS_ERR_FIELD_TYPE;
}

/* An application's entry that is no list is one rejected record (as on existing nodes). */
static kms_status read_no_list(kms_sync *message, kms_json_cursor *cursor)
{
	GUARD(kms_json_cursor_read(cursor, KMS_SYNC_MAX_VALUES));
	message->malformed++;
	return KMS_OK;
}

static kms_status read_records(kms_sync *message, kms_json_cursor *cursor, bool app_valid)
{
	bool more;
	sync_entry entry;
	if (kms_json_cursor_peek(cursor) != '[') return read_no_list(message, cursor);
	GUARD(kms_json_cursor_enter(cursor, '['));
	for (;;) {
		GUARD(kms_json_cursor_next(&more, cursor, ']'));
		if (!more) return KMS_OK;
		GUARD(kms_json_cursor_read(cursor, KMS_SYNC_MAX_RECORD_VALUES));
		if (app_valid && read_record(&entry, message, &cursor->json))
			GUARD(add_entry(message, &entry));
		else
			message->malformed++;
	}
}

static kms_status read_app(kms_sync *message, kms_json_cursor *cursor, app_names *names)
{
	kms_json_value name;
	uint64_t app_id;
	size_t before = message->entry_count;
	GUARD(kms_json_cursor_name(&name, cursor));
	GUARD(add_name(names, &name));
	bool app_valid = kms_app_id_parse(&app_id, kms_json_text(&name)) == KMS_OK;
	GUARD(read_records(message, cursor, app_valid));
	if (message->entry_count > before) GUARD(add_app(message, app_id));
	return KMS_OK;
}

kms_status kms_sync_data_read(kms_sync *message, kms_json_cursor *cursor)
{
	bool more;
	DEFER(app_names_free) app_names names = { 0 };
	if (kms_json_cursor_peek(cursor) != '{') return refuse_value(cursor);
	GUARD(kms_json_cursor_enter(cursor, '{'));
	message->has_data = true;
	for (;;) {
		GUARD(kms_json_cursor_next(&more, cursor, '}'));
		if (!more) return check_names(&names);
		GUARD(read_app(message, cursor, &names));
	}
}

/* ---- access ---- */

/* The application of an entry: the first whose entries end after it. */
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
	if (message && index < message->entry_count) message->entries[index].mark = SYNC_REFUSED;
}

void kms_sync_defer(kms_sync *message, size_t index)
{
	if (message && index < message->entry_count) message->entries[index].mark = SYNC_DEFERRED;
}
