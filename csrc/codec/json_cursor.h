/*
 * A walk through a JSON text in order: containers are entered one by one, and what is in them
 * is read value by value into tokens that are used again, so that the memory it takes does not
 * grow with the text. As strict as kms_json_parse, but for duplicate keys of an object that is
 * entered: those are the caller's to find.
 */
#ifndef KMS_CODEC_JSON_CURSOR_H
#define KMS_CODEC_JSON_CURSOR_H

#include "kms/json.h"

typedef struct kms_json_cursor {
	char *at;
	char *end;
	unsigned depth; /* containers entered and not yet left */
	bool begun;     /* something in the innermost of them was passed */
	kms_json json;  /* of the value read last: values[0] */
} kms_json_cursor;

/* Owns nothing until the first value is read; release with kms_json_cursor_free. */
kms_json_cursor kms_json_cursor_make(char *text, size_t len);
void kms_json_cursor_free(kms_json_cursor *cursor);

/* The first byte of what comes next; NUL at the end. */
char kms_json_cursor_peek(kms_json_cursor *cursor);
/* Enters the object ('{') or array ('[') that comes next. */
kms_status kms_json_cursor_enter(kms_json_cursor *cursor, char opening);
/* Passes to the next member or element; where there is none, leaves the container ('}', ']'). */
kms_status kms_json_cursor_next(bool *more, kms_json_cursor *cursor, char closing);
/* The name of a member and the colon after it. The text stays where it is. */
kms_status kms_json_cursor_name(kms_json_value *name, kms_json_cursor *cursor);
/* Reads the next value with all that is in it. */
kms_status kms_json_cursor_read(kms_json_cursor *cursor, size_t max_values);
/* Nothing may come any more. */
kms_status kms_json_cursor_end(kms_json_cursor *cursor);

#endif
