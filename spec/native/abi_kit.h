/* Returned data of contract calls for tests, honest, to be broken by the test. */
#ifndef KMS_SPEC_ABI_KIT_H
#define KMS_SPEC_ABI_KIT_H

#include "base/mem.h"
#include "kms/abi.h"
#include "test.h"

#define WORD KMS_ABI_WORD
#define MAX_WORDS 64

/* Returned data; the put_* functions append words to it. */
typedef struct response {
	uint8_t bytes[MAX_WORDS * WORD];
	size_t len;
} response;

static inline kms_span span_of(const response *r)
{
	return kms_span_of(r->bytes, r->len);
}

static inline uint8_t *put_number(response *a, uint64_t number)
{
	uint8_t *word = a->bytes + a->len;
	kms_abi_word_number(word, number);
	a->len += WORD;
	return word;
}

static inline void put_address(response *a, uint8_t byte)
{
	uint8_t address[20];
	memset(address, byte, sizeof(address));
	kms_abi_word_address(a->bytes + a->len, address);
	a->len += WORD;
}

static inline void put_bytes32(response *a, uint8_t byte)
{
	memset(a->bytes + a->len, byte, WORD);
	a->len += WORD;
}

static inline void put_bytes(response *a, const char *bytes, size_t len)
{
	put_number(a, len);
	memset(a->bytes + a->len, 0, (len + 31) / 32 * 32);
	memcpy(a->bytes + a->len, bytes, len);
	a->len += (len + 31) / 32 * 32;
}

static inline void put_text(response *a, const char *text)
{
	put_bytes(a, text, strlen(text));
}

static inline response app_response(void)
{
	response a = { .len = 0 };
	put_number(&a, 32);
	put_number(&a, 7);
	put_address(&a, 0x11);
	put_bytes32(&a, 0x22);
	put_address(&a, 0x33);
	put_number(&a, 9 * WORD);
	put_number(&a, 3);
	put_number(&a, 1700000000);
	put_number(&a, 1);
	put_address(&a, 0x44); /* appended by newer contracts */
	put_text(&a, "ipfs://app");
	return a;
}

static inline response version_response(void)
{
	response a = { .len = 0 };
	put_number(&a, 32);
	put_number(&a, 5);
	for (int i = 0; i < 6; i++)
		if (i == 1)
			put_bytes32(&a, 0x55);
		else
			put_number(&a, (uint64_t)(10 + 2 * (i ? i - 1 : 0)) * WORD);
	put_number(&a, 2);
	put_number(&a, 1700000000);
	put_address(&a, 0x66);
	put_text(&a, "v1.0.0");
	put_text(&a, "image");
	put_text(&a, "audit");
	put_text(&a, "hash");
	put_text(&a, "42");
	return a;
}

/* Positions of an instance's words, after the outer offset. */
enum { I_ID = 1, I_APP, I_VERSION, I_OPERATOR, I_URL, I_KEY, I_WALLET, I_ZK, I_STATUS, I_AT, I_URL_LEN };

static inline response instance_with(const char *url, size_t url_len, size_t key_len)
{
	static const char key[KMS_ABI_MAX_KEY + 1] = { 4, 1, 2 };
	response a = { .len = 0 };
	put_number(&a, 32);
	put_number(&a, 9);
	put_number(&a, 49);
	put_number(&a, 1);
	put_address(&a, 0x77);
	put_number(&a, 10 * WORD);
	put_number(&a, (11 + (url_len + 31) / 32) * WORD);
	put_address(&a, 0x88);
	put_number(&a, 1);
	put_number(&a, 0);
	put_number(&a, 1700000001);
	put_bytes(&a, url, url_len);
	put_bytes(&a, key, key_len);
	return a;
}

static inline response instance_response(void)
{
	return instance_with("https://node.example", 20, 97);
}

static inline response list_response(void)
{
	response a = { .len = 0 };
	put_number(&a, 32);
	put_number(&a, 3);
	put_address(&a, 0xa1);
	put_address(&a, 0xa2);
	put_address(&a, 0xa3);
	return a;
}

static inline response anchor_response(void)
{
	response a = { .len = 0 };
	put_bytes32(&a, 0x99);
	put_number(&a, 1700000002);
	put_address(&a, 0xaa);
	return a;
}

#endif
