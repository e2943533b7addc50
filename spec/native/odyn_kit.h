/* What the tests of the Odyn service's bodies share: responses, keys, envelopes. */
#ifndef KMS_SPEC_ODYN_KIT_H
#define KMS_SPEC_ODYN_KIT_H

#include "base/ensure.h"
#include "kms/odyn.h"
#include "material.h"

#define KEY "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define OWN_ADDRESS "0x00112233445566778899aAbBcCdDeEfF00112233"
#define R "1111111111111111111111111111111111111111111111111111111111111111"
#define S "2222222222222222222222222222222222222222222222222222222222222222"
#define NONCE "000102030405060708090a0b"
#define DATA "00112233445566778899aabbccddeeff0102" /* two bytes and the tag */

static const uint8_t own20[20] = { 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99,
				   0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff, 0x00, 0x11, 0x22, 0x33 };

/* The body of a response. Its limit makes the block exactly as long, so that ASan sees a read beyond. */
static inline kms_buf response_of(const char *text)
{
	kms_buf buf = kms_buf_make(KMS_BUF_WIPED, strlen(text));
	MUST(kms_buf_append_text(&buf, text));
	return buf;
}

static inline void der_hex(char hex[241], const kms_p384 *key)
{
	uint8_t der[120];
	kms_p384_der(der, kms_p384_public(key));
	kms_hex_encode(hex, KMS_SPAN(der));
	hex[240] = '\0';
}

static inline bool is_text(const kms_buf *buf, const char *want)
{
	return buf->len == strlen(want) && (!buf->len || memcmp(buf->data, want, buf->len) == 0);
}

static inline kms_status read_envelope(kms_buf *body, const char **field, const char *text,
				       const kms_p384 *own, size_t plain_len)
{
	DEFER(kms_buf_free) kms_buf response = response_of(text);
	return kms_odyn_envelope(field, body, &response, kms_p384_public(own), plain_len);
}

static inline void envelope_response(char text[2048], const char *key, const char *nonce, const char *data)
{
	snprintf(text, 2048,
		 "{\"encrypted_data\":\"%s\",\"enclave_public_key\":\"%s\",\"nonce\":\"%s\",\"x\":[0]}", data,
		 key, nonce);
}

#endif
