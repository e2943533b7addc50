/* Inside of the JSON parser: what json.c and json_string.c share. */
#ifndef KMS_CODEC_JSON_PARSER_H
#define KMS_CODEC_JSON_PARSER_H

#include "kms/json.h"

typedef struct kms_json_parser {
	char *at;
	char *end;
	kms_json *json;
	size_t max_values;
	unsigned depth;
} kms_json_parser;

static inline void kms_json_skip_space(kms_json_parser *p)
{
	while (p->at < p->end && (*p->at == ' ' || *p->at == '\t' || *p->at == '\n' || *p->at == '\r'))
		p->at++;
}

/* The next byte, or a NUL, which no place of the grammar allows, at the end. */
static inline char kms_json_peek(const kms_json_parser *p)
{
	return p->at < p->end ? *p->at : '\0';
}

static inline bool kms_json_accept(kms_json_parser *p, char wanted)
{
	if (p->at == p->end || *p->at != wanted) return false;
	p->at++;
	return true;
}

static inline bool kms_json_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Appends a token that ends where it begins; its index, since growth moves the array. */
kms_status kms_json_add_token(uint32_t *index, kms_json_parser *p, kms_json_type type);

/* The string that begins at the next byte, which is its quote. */
kms_status kms_json_parse_string(kms_json_parser *p);

#endif
