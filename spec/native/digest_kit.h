/* What the tests of repair share: an exchange between two stores in one process. */
#ifndef KMS_SPEC_DIGEST_KIT_H
#define KMS_SPEC_DIGEST_KIT_H

#include "kms/digest.h"
#include "sync_kit.h"

#define PAGE (256u * 1024)

typedef struct repair_run {
	kms_digest_state state;
	kms_digest_counts counts;
	size_t digest_bytes; /* questions and answers */
	size_t record_bytes; /* JSON of records */
	size_t longest;      /* question or answer */
	bool failed;
	uint64_t now_ms;
} repair_run;

/* Whether members ask as those do whose peers have not the feature "brief". */
static bool asks_plainly;

static inline kms_status digest_begin(kms_digest **digest, kms_store *store, uint64_t now_ms)
{
	kms_status status = kms_digest_new(digest, store, now_ms);
	if (status == KMS_OK && !asks_plainly) kms_digest_be_brief(*digest);
	return status;
}

static inline kms_store *digest_store(uint8_t self)
{
	kms_store *store = NULL;
	kms_store_config config = kit_config(self);
	config.max_app_bytes = 100u << 20;
	MUST(kms_store_new(&store, &config));
	kms_secret *master = hex_secret(MASTER);
	MUST(kms_tree_set_key(&(bool){ false }, store, master, SIZE_MAX));
	kms_secret_unref(master);
	return store;
}

/* Puts a sealed value of `len` bytes of plaintext. */
static inline void put_sealed(kms_store *store, uint64_t app_id, const char *key, uint8_t first, size_t len,
			      uint64_t ttl_ms, uint64_t now_ms)
{
	uint64_t at_ms;
	kms_buf value = kms_buf_make(KMS_BUF_PLAIN, SIZE_MAX);
	add_sealed(&value, app_id, first, len);
	MUST(kms_store_put(&at_ms, store, app_id, kms_text_from(key), kms_buf_span(&value), ttl_ms, now_ms));
	kms_buf_free(&value);
}

/* Merges a data object. */
static inline void apply_data(repair_run *run, kms_store *store, const kms_buf *data)
{
	kms_sync_counts counts;
	if (data->len == 0) return;
	kms_buf text = new_text();
	add(&text, "{\"type\":\"digest\",\"digest\":\"\",\"data\":");
	MUST(kms_buf_append(&text, kms_buf_span(data)));
	add(&text, "}");
	MUST(apply_text_at(&counts, store, &text, run->now_ms));
	run->record_bytes += data->len;
	kms_buf_free(&text);
}

static inline void count_text(repair_run *run, const kms_buf *text)
{
	run->digest_bytes += text->len;
	if (text->len > run->longest) run->longest = text->len;
}

/* One question of `a` and the answer of `b`. */
static inline kms_status repair_round(repair_run *run, kms_digest *digest, kms_store *a, kms_store *b)
{
	uint64_t records;
	kms_buf question = new_text(), given = new_text(), answer = new_text(), wanted = new_text();
	kms_status status = kms_digest_ask(&question, &given, &records, digest, PAGE, run->now_ms);
	if (status == KMS_OK) {
		apply_data(run, b, &given);
		status = kms_digest_answer(&answer, &wanted, &records, b, kms_buf_span(&question), PAGE,
					   false, run->now_ms);
	}
	if (status == KMS_OK) status = kms_digest_take(digest, kms_buf_span(&answer));
	if (status == KMS_OK) apply_data(run, a, &wanted);
	count_text(run, &question);
	count_text(run, &answer);
	kms_buf_free(&question);
	kms_buf_free(&given);
	kms_buf_free(&answer);
	kms_buf_free(&wanted);
	return status;
}

/* Computes a tree's digests, as nodes do before an exchange. */
static inline void tidy_tree(kms_store *store)
{
	for (bool more = true; more;)
		MUST(kms_tree_tidy(&more, store, 10000));
}

/* One exchange that `a` begins, of at most 1000 questions. forget_before_ms: as kms_digest_forget_before. */
static inline repair_run repair_forgetting(kms_store *a, kms_store *b, uint64_t forget_before_ms,
					   uint64_t now_ms)
{
	repair_run run = { .now_ms = now_ms };
	kms_digest *digest;
	tidy_tree(a);
	tidy_tree(b);
	MUST(digest_begin(&digest, a, now_ms));
	kms_digest_forget_before(digest, forget_before_ms);
	for (size_t i = 0; i < 1000 && kms_digest_get_state(digest) == KMS_DIGEST_ASKING && !run.failed; i++)
		run.failed = repair_round(&run, digest, a, b) != KMS_OK;
	run.state = kms_digest_get_state(digest);
	run.counts = kms_digest_get_counts(digest);
	kms_digest_free(digest);
	return run;
}

static inline repair_run repair_at(kms_store *a, kms_store *b, uint64_t now_ms)
{
	return repair_forgetting(a, b, 0, now_ms);
}

static inline repair_run repair(kms_store *a, kms_store *b)
{
	return repair_at(a, b, NOW);
}

#endif
