/* What the tests of sync share: messages from text, sealed values, pages, stores to compare. */
#ifndef KMS_SPEC_SYNC_KIT_H
#define KMS_SPEC_SYNC_KIT_H

#include <stdarg.h>

#include "kms/json.h"
#include "kms/sync.h"
#include "material.h"
#include "store_kit.h"

#define MASTER "6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d"
#define WALLET "0x0200000000000000000000000000000000000000" /* of node 2 of store_kit.h */
#define OWN "0x0100000000000000000000000000000000000000"
#define ORIGIN 7

/* A buffer of the kind that messages are read from. */
static inline kms_buf wiped_copy(const char *text, size_t len)
{
	kms_buf buf = kms_buf_make(KMS_BUF_WIPED, SIZE_MAX);
	MUST(kms_buf_append(&buf, kms_span_of(text, len)));
	return buf;
}

static inline kms_status parse_bytes(kms_sync **message, const char **field, const char *text, size_t len)
{
	kms_buf buf = wiped_copy(text, len);
	kms_status status = kms_sync_parse(message, field, &buf);
	if (buf.data || (status != KMS_OK) != !*message) abort();
	return status;
}

static inline kms_status parse_text(kms_sync **message, const char *text)
{
	const char *field;
	return parse_bytes(message, &field, text, strlen(text));
}

/* Appends to a text under construction; free with kms_buf_free. */
static inline void add(kms_buf *buf, const char *text)
{
	MUST(kms_buf_append_text(buf, text));
}

__attribute__((format(printf, 2, 3))) static inline void addf(kms_buf *buf, const char *format, ...)
{
	char text[1024];
	va_list args;
	va_start(args, format);
	int len = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (len < 0 || (size_t)len >= sizeof(text)) abort();
	add(buf, text);
}

static inline kms_buf new_text(void)
{
	return kms_buf_make(KMS_BUF_WIPED, SIZE_MAX);
}

static inline kms_secret *data_key(uint64_t app_id)
{
	kms_secret *master = hex_secret(MASTER), *key;
	MUST(kms_data_key(&key, master, app_id));
	kms_secret_unref(master);
	return key;
}

/* Appends `len` bytes that start with `first`, sealed for an application. */
static inline void add_sealed(kms_buf *out, uint64_t app_id, uint8_t first, size_t len)
{
	kms_secret *key = data_key(app_id);
	uint8_t *value = calloc(len ? len : 1, 1);
	if (!value) abort();
	value[0] = first;
	MUST(kms_value_seal(out, key, kms_span_of(value, len)));
	free(value);
	kms_secret_unref(key);
}

/* The same in hexadecimal. */
static inline void add_sealed_hex(kms_buf *out, uint64_t app_id, uint8_t first, size_t len)
{
	kms_buf sealed = kms_buf_make(KMS_BUF_PLAIN, SIZE_MAX);
	add_sealed(&sealed, app_id, first, len);
	MUST(kms_buf_append_hex(out, kms_buf_span(&sealed)));
	kms_buf_free(&sealed);
}

/* A live record of APP with one entry in its clock. */
static inline void add_live(kms_buf *out, const char *key, uint8_t first, const char *wallet,
			    uint64_t counter, uint64_t at_ms)
{
	addf(out, "{\"key\":\"%s\",\"value\":\"", key);
	add_sealed_hex(out, APP, first, 2);
	addf(out, "\",\"version\":{\"%s\":%llu},\"updated_at_ms\":%llu,\"tombstone\":false,\"ttl_ms\":0}",
	     wallet, (unsigned long long)counter, (unsigned long long)at_ms);
}

/* Admits all applications, as if the chain knew them. */
static inline void admit_all(kms_sync *message)
{
	for (size_t i = 0; i < kms_sync_apps(message); i++)
		kms_sync_admit(message, i);
}

static inline kms_status apply_message_at(kms_sync_counts *counts, kms_sync *message, kms_store *store,
					  uint64_t now_ms)
{
	admit_all(message);
	kms_secret *master = hex_secret(MASTER);
	kms_status status = kms_sync_apply(counts, message, store, master, ORIGIN, now_ms);
	kms_secret_unref(master);
	return status;
}

static inline kms_status apply_message(kms_sync_counts *counts, kms_sync *message, kms_store *store)
{
	return apply_message_at(counts, message, store, NOW);
}

/* Parses and applies. */
static inline kms_status apply_text_at(kms_sync_counts *counts, kms_store *store, const kms_buf *text,
				       uint64_t now_ms)
{
	kms_sync *message;
	const char *field;
	*counts = (kms_sync_counts){ 0 };
	kms_status status = parse_bytes(&message, &field, (const char *)text->data, text->len);
	if (status == KMS_OK) status = apply_message_at(counts, message, store, now_ms);
	kms_sync_free(message);
	return status;
}

static inline kms_status apply_text(kms_sync_counts *counts, kms_store *store, const kms_buf *text)
{
	return apply_text_at(counts, store, text, NOW);
}

/* The content of a store, as a snapshot with stubs; free with kms_buf_free. */
static inline kms_buf content_of(kms_store *store)
{
	uint64_t records;
	kms_buf content = new_text();
	MUST(kms_sync_snapshot(&records, &content, store, KMS_SYNC_STUBS));
	return content;
}

static inline bool same_bytes(const kms_buf *a, const kms_buf *b)
{
	return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

/* The beginning of a message with records of APP. */
static inline kms_buf data_text(void)
{
	kms_buf text = new_text();
	add(&text, "{\"type\":\"delta\",\"data\":{\"49\":[");
	return text;
}

/* Whether the counts are these; otherwise prints them. */
static inline bool counts_are(const kms_sync_counts *c, uint64_t total, uint64_t merged, uint64_t skipped,
			      uint64_t rejected, uint64_t future)
{
	if (c->total == total && c->merged == merged && c->skipped == skipped && c->rejected == rejected &&
	    c->future == future)
		return true;
	fprintf(stderr, "total %llu, merged %llu, skipped %llu, rejected %llu, future %llu\n",
		(unsigned long long)c->total, (unsigned long long)c->merged, (unsigned long long)c->skipped,
		(unsigned long long)c->rejected, (unsigned long long)c->future);
	return false;
}

static const kms_delta_options all_changes = { .max_records = 1000,
					       .max_bytes = 1 << 20,
					       .max_record_bytes = 1 << 20 };

/* Merges a record of a peer, which must be new. */
static inline void merge_at(kms_store *s, uint64_t app_id, const char *key, const kms_clock_entry *clock,
			    size_t clock_len, uint32_t origin, kms_record_state state)
{
	uint8_t value[KMS_VALUE_SEAL_OVERHEAD] = { 0xab, 1 };
	kms_merge outcome;
	bool live = state == KMS_RECORD_LIVE;
	kms_record r = { .key = kms_text_from(key),
			 .value = kms_span_of(live ? value : NULL, live ? sizeof(value) : 0),
			 .clock = { clock, clock_len },
			 .updated_at_ms = NOW - 1,
			 .ttl_ms = live ? 0 : 3,
			 .state = state,
			 .origin = origin };
	MUST(kms_store_merge(&outcome, s, app_id, &r, NOW));
	if (outcome == KMS_MERGE_IGNORED_EQUAL_VERSION) abort();
}

/* Builds a delta page, which must have these properties. */
static inline void expect_page(int *failed_, kms_store *s, const kms_delta_options *options, uint64_t until,
			       uint64_t records, uint64_t skipped)
{
	kms_delta d;
	kms_buf out = new_text();
	CHECK_OK(kms_sync_delta(&d, &out, s, options));
	if (d.until != until || d.records != records || d.skipped != skipped)
		fprintf(stderr, "until %llu, records %llu, skipped %llu\n", (unsigned long long)d.until,
			(unsigned long long)d.records, (unsigned long long)d.skipped);
	CHECK(d.until == until && d.records == records && d.skipped == skipped);
	CHECK((out.len > 0) == (records > 0));
	CHECK(records <= 1 || out.len <= options->max_bytes);
	kms_buf_free(&out);
}

#define HEX28 "00112233445566778899aabbccddeeff00112233445566778899aabb"
#define RECORD(members) "{\"data\":{\"49\":[{" members "}]}}"
#define GOOD "\"key\":\"k\",\"value\":\"" HEX28 "\",\"version\":{\"" WALLET "\":1}"

#endif
