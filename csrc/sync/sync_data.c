/* The records of a sync message: read one by one, so that tokens never pile up. */
#include <stdlib.h>

#include "codec/json_order.h"
#include "base/mem.h"
#include "base/ensure.h"
#include "sync/sync_internal.h"
#include "kms/codec.h"

#define FIRST_ROOM 16

/* The names of the object's members, to find one that is there twice. */
typedef struct app_names {
	kms_text *list;
	size_t count;
	size_t cap;
} app_names;

static void app_names_free(app_names *names)
{
	kms_heap_free(names->list);
}

/* The array with room for one more element; NULL without memory, and it stays as it was. */
static void *with_room(void *array, size_t *cap, size_t count, size_t size)
{
	if (count < *cap) return array;
	size_t wanted = *cap ? 2 * *cap : FIRST_ROOM;
	void *grown = kms_heap_resize(array, wanted * size);
	if (grown) *cap = wanted;
	return grown;
}

static kms_status add_name(app_names *names, const kms_json_value *name)
{
	ENSURE(names->count < KMS_SYNC_MAX_APPS, KMS_ERR_JSON_SIZE);
	kms_text *list = with_room(names->list, &names->cap, names->count, sizeof(*list));
	ENSURE(list, KMS_ERR_MEMORY);
	names->list = list;
	list[names->count++] = (kms_text){ name->text, name->len };
	return KMS_OK;
}

static int compare_names(const void *a, const void *b)
{
	const kms_text *x = a, *y = b;
	return kms_json_bytes_compare(x->text, x->len, y->text, y->len);
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
	    with_room(message->entries, &message->entry_cap, message->entry_count, sizeof(*entries));
	ENSURE(entries, KMS_ERR_MEMORY);
	message->entries = entries;
	entries[message->entry_count++] = *entry;
	return KMS_OK;
}

static kms_status add_app(kms_sync *message, uint64_t app_id)
{
	sync_app *apps = with_room(message->apps, &message->app_cap, message->app_count, sizeof(*apps));
	ENSURE(apps, KMS_ERR_MEMORY);
	message->apps = apps;
	apps[message->app_count++] = (sync_app){ app_id, message->entry_count };
	return KMS_OK;
}

/* What is read has another type than it should: it is JSON, or that is what is wrong with it. */
static kms_status refuse_value(kms_json_cursor *cursor)
{
	GUARD(kms_json_cursor_read(cursor, KMS_SYNC_MAX_VALUES));
	return KMS_ERR_FIELD_TYPE;
}

static kms_status read_records(kms_sync *message, kms_json_cursor *cursor, bool app_valid)
{
	bool more;
	sync_entry entry;
	if (kms_json_cursor_peek(cursor) != '[') return refuse_value(cursor);
	GUARD(kms_json_cursor_enter(cursor, '['));
	for (;;) {
		GUARD(kms_json_cursor_next(&more, cursor, ']'));
		if (!more) return KMS_OK;
		GUARD(kms_json_cursor_read(cursor, KMS_SYNC_MAX_RECORD_VALUES));
		if (app_valid && kms_sync_record_read(&entry, message, &cursor->json))
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
	bool app_valid = kms_app_id_parse(&app_id, name.text, name.len) == KMS_OK;
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
