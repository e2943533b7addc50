/* Bodies of envelopes from their members, for tests. */
#ifndef KMS_SPEC_ENVELOPE_KIT_H
#define KMS_SPEC_ENVELOPE_KIT_H

#include "kms/envelope.h"
#include "material.h"

#define KEY "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define NONCE12 "000102030405060708090a0b"
#define NONCE32 NONCE12 "0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define TAG "00112233445566778899aabbccddeeff"
#define FORMAT "{\"sender_tee_pubkey\":\"%s\",\"nonce\":\"%s\",\"encrypted_data\":\"%s\"}"

/* A copy of a body, since parsing changes it: exactly as long as the text, so that ASan sees any overrun. */
typedef struct body {
	char *text;
	size_t len;
} body;

static inline body body_of(const void *text, size_t len)
{
	body b = { malloc(len ? len : 1), len };
	if (!b.text) abort();
	memcpy(b.text, text, len);
	return b;
}

static inline void sender_hex(char hex[241], const kms_p384 *key)
{
	uint8_t der[120];
	kms_p384_der(der, kms_p384_public(key));
	kms_hex_encode(hex, KMS_SPAN(der));
	hex[240] = '\0';
}

#endif
