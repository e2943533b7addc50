/*
 * Reads a JSON text in order: the caller enters containers and reads what is in them value by
 * value into memory that is used again, so that it does not grow with the text. As strict as
 * kms_json_parse, except for duplicate keys of an object that is entered: the caller finds those.
 * Threads: one thread at a time per cursor.
 */
#ifndef KMS_CODEC_JSON_CURSOR_H
#define KMS_CODEC_JSON_CURSOR_H

#include "kms/json.h"

typedef struct kms_json_cursor {
	char *at;
	char *end;
	unsigned depth; /* containers entered and not yet left */
	bool begun;     /* the innermost of them had a member or element */
	kms_json json;  /* of the value read last: values[0] */
} kms_json_cursor;

/* Owns nothing until the first value is read; free with kms_json_cursor_free. `text` is changed. */
kms_json_cursor kms_json_cursor_make(char *text, size_t len);
void kms_json_cursor_free(kms_json_cursor *cursor);

/* The first byte of what comes next; NUL at the end. */
char kms_json_cursor_peek(kms_json_cursor *cursor);
/* Enters the object ('{') or array ('[') that comes next. */
kms_status kms_json_cursor_enter(kms_json_cursor *cursor, char opening);
/* Passes to the next member or element; where there is none, leaves the container ('}', ']'). */
kms_status kms_json_cursor_next(bool *more, kms_json_cursor *cursor, char closing);
/* Reads the name of a member and the colon after it; the name is borrowed from the text. */
kms_status kms_json_cursor_name(kms_json_value *name, kms_json_cursor *cursor);
/* Reads the next value with all that is in it. */
kms_status kms_json_cursor_read(kms_json_cursor *cursor, size_t max_values);
/* Ensures that the text ends here, outside all containers. */
kms_status kms_json_cursor_end(kms_json_cursor *cursor);

#endif
