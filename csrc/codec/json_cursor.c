#include "codec/json_cursor.h"

#include "base/ensure.h"
#include "codec/json_internal.h"

kms_json_cursor kms_json_cursor_make(char *text, size_t len)
{
	return (kms_json_cursor){ .at = text, .end = text + len };
}

void kms_json_cursor_free(kms_json_cursor *cursor)
{
	kms_json_free(&cursor->json);
}

char kms_json_cursor_peek(kms_json_cursor *cursor)
{
	for (; cursor->at < cursor->end; cursor->at++) {
		char c = *cursor->at;
		if (c != ' ' && c != '\t' && c != '\n' && c != '\r') return c;
	}
	return '\0';
}

static bool accept(kms_json_cursor *cursor, char wanted)
{
	if (kms_json_cursor_peek(cursor) != wanted) return false;
	cursor->at++;
	return true;
}

kms_status kms_json_cursor_enter(kms_json_cursor *cursor, char opening)
{
	ENSURE(accept(cursor, opening), KMS_ERR_JSON);
	ENSURE(cursor->depth < KMS_JSON_MAX_DEPTH, KMS_ERR_JSON_DEPTH);
	cursor->depth++;
	cursor->begun = false;
	return KMS_OK;
}

kms_status kms_json_cursor_next(bool *more, kms_json_cursor *cursor, char closing)
{
	*more = false;
	if (accept(cursor, closing)) {
		cursor->depth--;
		cursor->begun = true; /* the container that was left is an element of the one around it */
		return KMS_OK;
	}
	ENSURE(!cursor->begun || accept(cursor, ','), KMS_ERR_JSON);
	cursor->begun = true;
	*more = true;
	return KMS_OK;
}

kms_status kms_json_cursor_name(kms_json_value *name, kms_json_cursor *cursor)
{
	ENSURE(kms_json_cursor_peek(cursor) == '"', KMS_ERR_JSON);
	GUARD(kms_json_cursor_read(cursor, 1));
	*name = cursor->json.values[0];
	ENSURE(accept(cursor, ':'), KMS_ERR_JSON);
	return KMS_OK;
}

kms_status kms_json_cursor_read(kms_json_cursor *cursor, size_t max_values)
{
	size_t used;
	GUARD(kms_json_parse_front(&used, &cursor->json, cursor->at, (size_t)(cursor->end - cursor->at),
				   max_values, cursor->depth));
	cursor->at += used;
	return KMS_OK;
}

kms_status kms_json_cursor_end(kms_json_cursor *cursor)
{
	ENSURE(cursor->depth == 0 && kms_json_cursor_peek(cursor) == '\0' && cursor->at == cursor->end,
	       KMS_ERR_JSON);
	return KMS_OK;
}
