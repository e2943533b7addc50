/* Order of an object's members, shared by the parser (duplicates) and the canonical writer. */
#ifndef KMS_CODEC_JSON_ORDER_H
#define KMS_CODEC_JSON_ORDER_H

#include "kms/json.h"

/* Members up to which no memory is allocated for their order. */
#define KMS_JSON_ORDER_SMALL 32

typedef struct kms_json_order {
	uint32_t *keys; /* token indices of the object's keys, bytewise ascending */
	uint32_t small[KMS_JSON_ORDER_SMALL];
} kms_json_order;

/* Sorts the members of an object. Not to be copied; release with kms_json_order_free. */
kms_status kms_json_order_make(kms_json_order *order, const kms_json *json, const kms_json_value *object);
void kms_json_order_free(kms_json_order *order);

/* Bytewise, the shorter first where one begins with the other. */
int kms_json_text_compare(const kms_json_value *a, const kms_json_value *b);
int kms_json_bytes_compare(const char *a, size_t a_len, const char *b, size_t b_len);

#endif
