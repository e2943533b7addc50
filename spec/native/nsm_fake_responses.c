/* Responses of the fake Nitro device, in CBOR (RFC 8949) written by hand. */
#include "nsm_fake.h"

#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#define RANDOM_BYTES 256

typedef ssize_t getrandom_fn(void *, size_t, unsigned);

/* ---- CBOR ---- */

void nsm_fake_put(nsm_bytes *out, const void *data, size_t len)
{
	if (out->len + len > sizeof(out->data)) abort();
	memcpy(out->data + out->len, data, len);
	out->len += len;
}

static void put_head(nsm_bytes *out, unsigned major, size_t n)
{
	uint8_t head[3] = { (uint8_t)(major << 5 | (n < 24    ? n
						    : n < 256 ? 24
							      : 25)),
			    (uint8_t)n, (uint8_t)n };
	if (n >= 256) head[1] = (uint8_t)(n >> 8);
	nsm_fake_put(out, head, n < 24 ? 1 : n < 256 ? 2 : 3);
}

static void put_text(nsm_bytes *out, const char *text)
{
	put_head(out, 3, strlen(text));
	nsm_fake_put(out, text, strlen(text));
}

static void put_bytes(nsm_bytes *out, const void *data, size_t len)
{
	put_head(out, 2, len);
	nsm_fake_put(out, data, len);
}

static const uint8_t *find(const nsm_bytes *in, const void *data, size_t len)
{
	return memmem(in->data, in->len, data, len);
}

/* Copies the value of a member of the request: a byte string or null. */
static void put_member(nsm_bytes *out, const nsm_bytes *request, const char *name)
{
	nsm_bytes key = { .len = 0 };
	put_text(&key, name);
	const uint8_t *at = find(request, key.data, key.len);
	put_text(out, name);
	if (!at) abort(); /* the code under test sends all three, always */
	at += key.len;
	size_t len = at[0] & 31, head = 1;
	if (at[0] == 0xf6) len = 0;
	if (at[0] == 0x58) len = at[1], head = 2;
	if (at[0] == 0x59) len = (size_t)at[1] << 8 | at[2], head = 3;
	if (at[0] != 0xf6 && at[0] >> 5 != 2) abort();
	nsm_fake_put(out, at, head + len);
}

/* ---- responses ---- */

static void draw(uint8_t *out, size_t len)
{
	const char *mode = getenv("NSM_FAKE_RANDOM");
	memset(out, 0, len);
	if (mode && is(mode, "zero")) return;
	getrandom_fn *real = (getrandom_fn *)nsm_fake_next("getrandom");
	if (real(out, len, 0) != (ssize_t)len) abort();
}

static void put_random(nsm_bytes *out, const char *fault)
{
	uint8_t random[RANDOM_BYTES];
	size_t len = is(fault, "short-random") ? 5 : is(fault, "empty-random") ? 0 : sizeof(random);
	draw(random, sizeof(random));
	put_head(out, 5, 1);
	put_text(out, is(fault, "other-name") ? "Random" : "GetRandom");
	put_head(out, 5, is(fault, "extra-member") ? 2 : 1);
	put_text(out, is(fault, "other-member") ? "bytes" : "random");
	if (is(fault, "text-for-bytes")) {
		put_text(out, "these are no bytes at all, but text of some length");
	} else {
		put_bytes(out, random, len);
	}
	if (is(fault, "extra-member")) {
		put_text(out, "random");
		put_bytes(out, random, len);
	}
}

static void put_payload(nsm_bytes *out, const nsm_bytes *request)
{
	static const uint8_t certificate[64] = { 0x30, 62 };
	uint8_t pcr[48], time_ms[9] = { 0x1b };
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	uint64_t ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
	for (int i = 0; i < 8; i++)
		time_ms[1 + i] = (uint8_t)(ms >> 8 * (7 - i));
	put_head(out, 5, 9);
	put_text(out, "module_id");
	put_text(out, "i-0123456789abcdef0-enc0123456789abcd");
	put_text(out, "digest");
	put_text(out, "SHA384");
	put_text(out, "timestamp");
	nsm_fake_put(out, time_ms, sizeof(time_ms));
	put_text(out, "pcrs");
	put_head(out, 5, 16);
	for (uint8_t i = 0; i < 16; i++) {
		memset(pcr, i < 3 ? 0x10 + i : 0, sizeof(pcr));
		put_head(out, 0, i);
		put_bytes(out, pcr, sizeof(pcr));
	}
	put_text(out, "certificate");
	put_bytes(out, certificate, sizeof(certificate));
	put_text(out, "cabundle");
	put_head(out, 4, 1);
	put_bytes(out, certificate, sizeof(certificate));
	put_member(out, request, "public_key");
	put_member(out, request, "user_data");
	put_member(out, request, "nonce");
}

static void put_attestation(nsm_bytes *out, const nsm_bytes *request)
{
	static const uint8_t protected_header[] = { 0xa1, 0x01, 0x38, 0x22 }, signature[96];
	static nsm_bytes payload, document;
	payload.len = document.len = 0;
	put_payload(&payload, request);
	put_head(&document, 4, 4);
	put_bytes(&document, protected_header, sizeof(protected_header));
	put_head(&document, 5, 0);
	put_bytes(&document, payload.data, payload.len);
	put_bytes(&document, signature, sizeof(signature));
	put_head(out, 5, 1);
	put_text(out, "Attestation");
	put_head(out, 5, 1);
	put_text(out, "document");
	put_bytes(out, document.data, document.len);
}

static void put_description(nsm_bytes *out, const char *fault)
{
	put_head(out, 5, 1);
	put_text(out, "DescribeNSM");
	put_head(out, 5, is(fault, "member-missing") ? 6 : 7);
	put_text(out, "version_major");
	put_head(out, 0, 1);
	put_text(out, is(fault, "member-twice") ? "version_major" : "version_minor");
	put_head(out, 0, 0);
	put_text(out, "version_patch");
	put_head(out, 0, 7);
	put_text(out, "module_id");
	put_text(out, is(fault, "odd-text") ? "i-\n\033[0m" : "i-0123456789abcdef0-enc0123456789abcd");
	put_text(out, is(fault, "member-unknown") ? "max" : "max_pcrs");
	put_head(out, 0, 32);
	put_text(out, "locked_pcrs");
	put_head(out, 4, 4);
	for (size_t i = 0; i < 4; i++)
		put_head(out, 0, i);
	if (is(fault, "member-missing")) return;
	put_text(out, "digest");
	put_text(out, "SHA384");
}

static void put_error(nsm_bytes *out, const char *code)
{
	put_head(out, 5, 1);
	put_text(out, "Error");
	if (code[0] >= '0' && code[0] <= '9')
		put_head(out, 0, strtoul(code, NULL, 10));
	else
		put_text(out, code);
}

static void put_response(nsm_bytes *out, const nsm_bytes *request, const char *fault)
{
	static const uint8_t random[] = "\x69GetRandom", attestation[] = "\xa1\x6b"
									 "Attestation\xa3";
	static const uint8_t describe[] = "\x6b"
					  "DescribeNSM";
	if (strncmp(fault, "error=", 6) == 0)
		put_error(out, fault + 6);
	else if (request->len == sizeof(random) - 1 && memcmp(request->data, random, request->len) == 0)
		put_random(out, fault);
	else if (request->len == sizeof(describe) - 1 && memcmp(request->data, describe, request->len) == 0)
		put_description(out, fault);
	else if (find(request, attestation, sizeof(attestation) - 1) == request->data)
		put_attestation(out, request);
	else
		put_error(out, "InvalidArgument");
}

/* What a fault does to a finished response. */
static void spoil(nsm_bytes *out, const char *fault)
{
	static const uint8_t huge[] = { 0xa1, 0x69, 'G',  'e', 't', 'R', 'a', 'n', 'd', 'o',
					'm',  0xa1, 0x66, 'r', 'a', 'n', 'd', 'o', 'm', 0x5b,
					0,    0,    1,    0,   0,   0,   0,   0 };
	if (is(fault, "short")) out->len /= 2;
	if (is(fault, "empty")) out->len = 0;
	if (is(fault, "trailing")) nsm_fake_put(out, "\0", 1);
	if (is(fault, "garbage")) memset(out->data, 0xff, out->len);
	if (is(fault, "noise")) draw(out->data, out->len);
	if (is(fault, "array")) out->data[0] = 0x81;
	if (is(fault, "indefinite")) out->data[0] = 0xbf;
	if (is(fault, "tag")) out->data[0] = 0xc1;
	if (is(fault, "huge")) {
		out->len = 0;
		nsm_fake_put(out, huge, sizeof(huge));
	}
}

void nsm_fake_respond(nsm_bytes *response, const nsm_bytes *request, const char *fault)
{
	put_response(response, request, fault);
	spoil(response, fault);
}
