/* Cost of the store's operations, and of reading hot keys among few records and among many. */
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/ensure.h"
#include "kms/kdf.h"
#include "kms/tree.h"
#include "kms/value_seal.h"
#include "lib/measure.h"

#define APP 49
#define KEYS 10000u
#define LISTED 1000u
#define HOT 1000u
#define MANY 1000000u
#define KEY_TEXT 24
#define HOT_GETS 20000u
#define HOT_ROUNDS 31

typedef struct shelf {
	kms_store *store;
	uint64_t now_ms;
	uint64_t counter; /* of the peer's records that are merged */
	kms_buf value;
	uint8_t record[256 + KMS_VALUE_SEAL_OVERHEAD];
} shelf;

static size_t key_text(char text[KEY_TEXT], size_t index)
{
	return (size_t)snprintf(text, KEY_TEXT, "users/%010zu", index);
}

/* The limits are high enough that nothing is evicted. */
static kms_status shelf_open(shelf *s)
{
	const kms_store_config config = {
		.self20 = { 1 },
		.max_key = 4096,
		.max_value = 1u << 20,
		.max_app_bytes = 2ull << 30,
		.max_total_bytes = 4ull << 30,
		.max_namespaces = 10000,
		.max_tombstones = 100000,
		.tombstone_retention_ms = 86400000,
		.max_clock_skew_ms = 15000,
	};
	*s = (shelf){ .now_ms = 1700000000000 };
	s->value = kms_buf_make(KMS_BUF_PLAIN, 4096);
	memset(s->record, 'r', sizeof(s->record));
	return kms_store_new(&s->store, &config);
}

static void shelf_close(shelf *s)
{
	kms_store_free(s->store);
	kms_buf_free(&s->value);
}

static kms_status put_one(shelf *s, size_t index, size_t len)
{
	char key[KEY_TEXT];
	uint64_t at_ms = 0;
	size_t key_len = key_text(key, index);
	return kms_store_put(&at_ms, s->store, APP, kms_text_of(key, key_len), kms_span_of(s->record, len), 0,
			     s->now_ms);
}

static kms_status put_all(void *context, size_t count)
{
	for (size_t i = 0; i < count; i++)
		GUARD(put_one(context, i % KEYS, sizeof(((shelf *)0)->record)));
	return KMS_OK;
}

static kms_status fill(void *context, size_t count)
{
	(void)count;
	return put_all(context, KEYS);
}

static kms_status get_one(shelf *s, size_t index)
{
	char key[KEY_TEXT];
	uint64_t at_ms = 0;
	size_t key_len = key_text(key, index);
	kms_buf_clear(&s->value);
	return kms_store_get(&at_ms, &s->value, s->store, APP, kms_text_of(key, key_len), s->now_ms);
}

static kms_status run_get(void *context, size_t count)
{
	for (size_t i = 0; i < count; i++)
		GUARD(get_one(context, i % KEYS));
	return KMS_OK;
}

static kms_status run_delete(void *context, size_t count)
{
	shelf *s = context;
	char key[KEY_TEXT];
	uint64_t at_ms = 0;
	for (size_t i = 0; i < count; i++) {
		size_t key_len = key_text(key, i);
		GUARD(kms_store_delete(&at_ms, s->store, APP, kms_text_of(key, key_len), s->now_ms));
	}
	return KMS_OK;
}

static kms_status visit(void *context, kms_text key)
{
	size_t *seen = context;
	*seen += key.len > 0;
	return KMS_OK;
}

static kms_status run_list(void *context, size_t count)
{
	shelf *s = context;
	kms_store_listing all = { .max_bytes = SIZE_MAX };
	bool more;
	for (size_t i = 0; i < count; i++) {
		size_t seen = 0;
		GUARD(kms_store_list(&more, s->store, APP, &all, s->now_ms, visit, &seen));
		ENSURE(seen == LISTED, KMS_ERR_STATE);
	}
	return KMS_OK;
}

/* Merges records of one peer, each newer than all its earlier ones. */
static kms_status run_merge(void *context, size_t count)
{
	shelf *s = context;
	char key[KEY_TEXT];
	for (size_t i = 0; i < count; i++) {
		kms_merge outcome;
		kms_clock_entry clock[2] = { { { 2 }, ++s->counter }, { { 1 }, 1000000 } };
		kms_record record = { .key = kms_text_of(key, key_text(key, i % KEYS)),
				      .value = KMS_SPAN(s->record),
				      .clock = { clock, 2 },
				      .updated_at_ms = s->now_ms };
		GUARD(kms_store_merge(&outcome, s->store, APP, &record, s->now_ms));
		ENSURE(outcome == KMS_MERGE_INSERTED || outcome == KMS_MERGE_REPLACED_BY_VERSION,
		       KMS_ERR_STATE);
	}
	return KMS_OK;
}

static kms_status bench_operations(void)
{
	shelf s;
	GUARD(shelf_open(&s));
	bench_row(&(bench_case){ "put, 256 bytes, 10 000 keys", put_all, NULL, &s, 0 });
	GUARD(put_all(&s, KEYS));
	bench_row(&(bench_case){ "get, 256 bytes, 10 000 keys", run_get, NULL, &s, 0 });
	bench_row(&(bench_case){ "delete, live keys", run_delete, fill, &s, KEYS });
	shelf_close(&s);

	GUARD(shelf_open(&s));
	for (size_t i = 0; i < LISTED; i++)
		GUARD(put_one(&s, i, 64));
	bench_row(&(bench_case){ "list of 1000 keys", run_list, NULL, &s, 0 });
	shelf_close(&s);

	GUARD(shelf_open(&s));
	bench_row(&(bench_case){ "merge, newer versions, 10 000 keys", run_merge, NULL, &s, 0 });
	shelf_close(&s);
	return KMS_OK;
}

/* ---- the hash tree -------------------------------------------------------------------------- */

#define TREE_KEYS 100000u
#define TREE_PUTS 10000u
#define TREE_ROUNDS 51

static kms_status put_many(void *context, size_t count)
{
	for (size_t i = 0; i < count; i++)
		GUARD(put_one(context, i * 7919 % TREE_KEYS, sizeof(((shelf *)0)->record)));
	return KMS_OK;
}

static kms_status read_root(void *context, size_t count)
{
	const shelf *s = context;
	kms_tree_root root;
	for (size_t i = 0; i < count; i++) {
		for (bool more = true; more;)
			GUARD(kms_tree_tidy(&more, s->store, 2048));
		GUARD(kms_tree_get_root(&root, s->store, 1));
	}
	return KMS_OK;
}

/* A root after changes to every tenth record. */
static kms_status change_tenth(void *context, size_t count)
{
	(void)count;
	return put_many(context, TREE_PUTS);
}

static kms_status give_key(kms_store *store)
{
	static const uint8_t bytes[KMS_MASTER_BYTES] = { 7 };
	DEFER(kms_secret_release) kms_secret *master = NULL;
	GUARD(kms_secret_new(&master, KMS_SPAN(bytes)));
	return kms_tree_set_key(&(bool){ false }, store, master, SIZE_MAX);
}

/* Brings what the puts use into the processor's caches. */
static kms_status touch(shelf *s)
{
	for (size_t i = 0; i < TREE_PUTS; i++)
		GUARD(get_one(s, i * 7919 % TREE_KEYS));
	return KMS_OK;
}

/* Microseconds of a put. */
static kms_status time_puts(double *us, shelf *s)
{
	uint64_t start = bench_thread_ns();
	GUARD(put_many(s, TREE_PUTS));
	*us = (double)(bench_thread_ns() - start) / 1e3 / TREE_PUTS;
	return KMS_OK;
}

/* Microseconds that the tree needs for each of the changes that it has to catch up with. */
static kms_status time_root(double *us, shelf *s)
{
	uint64_t start = bench_thread_ns();
	GUARD(read_root(s, 1));
	*us = (double)(bench_thread_ns() - start) / 1e3 / TREE_PUTS;
	return KMS_OK;
}

/* The same puts into a store without and one with the tree, in turn: what else runs on the machine slows
 * both. The tree has caught up before each round, as it does in each sync interval. */
static kms_status bench_tree_puts(shelf *without, shelf *with)
{
	double plain[TREE_ROUNDS], kept[TREE_ROUNDS], more[TREE_ROUNDS], later[TREE_ROUNDS];
	for (size_t i = 0; i < TREE_ROUNDS; i++) {
		GUARD(touch(without));
		GUARD(time_puts(&plain[i], without));
		GUARD(touch(with));
		GUARD(time_puts(&kept[i], with));
		GUARD(time_root(&later[i], with));
		more[i] = kept[i] - plain[i];
	}
	double put = bench_median(plain, TREE_ROUNDS), cost = bench_median(more, TREE_ROUNDS);
	printf("  %-42s %12.3f\n", "put, 256 bytes, 100 000 keys, no tree", put);
	printf("  %-42s %12.3f\n", "the same with the hash tree", bench_median(kept, TREE_ROUNDS));
	printf("  %-42s %12.3f\n", "difference", cost);
	printf("  %-42s %12.3f\n", "the tree later, a change, with digests",
	       bench_median(later, TREE_ROUNDS));
	bench_at_most("a put with the tree, by one without", 1 + cost / put, 1.03);
	return KMS_OK;
}

static kms_status bench_tree(shelf *without, shelf *with)
{
	GUARD(shelf_open(without));
	GUARD(put_many(without, TREE_KEYS));
	GUARD(shelf_open(with));
	size_t before = mallinfo2().uordblks;
	GUARD(put_many(with, TREE_KEYS));
	size_t held = mallinfo2().uordblks - before;
	GUARD(give_key(with->store));
	size_t tree = mallinfo2().uordblks - before - held;
	GUARD(bench_tree_puts(without, with));
	printf("  %-42s %12.1f\n", "bytes of the tree a record", (double)tree / TREE_KEYS);
	printf("  %-42s %12.2f\n", "of the memory without it, in %", 100.0 * (double)tree / (double)held);
	bench_row(&(bench_case){ "root of 100 000, 10 000 changed", read_root, change_tenth, with, 1 });
	bench_row(&(bench_case){ "root, nothing changed", read_root, NULL, with, 0 });
	return KMS_OK;
}

/* ---- hot keys ------------------------------------------------------------------------------- */

/* The hot keys are spread over all records and read in a scattered order. */
static kms_status time_hot(double *us, shelf *s, char (*keys)[KEY_TEXT], size_t key_len)
{
	uint64_t at_ms = 0, start = bench_thread_ns();
	for (size_t i = 0; i < HOT_GETS; i++) {
		kms_buf_clear(&s->value);
		GUARD(kms_store_get(&at_ms, &s->value, s->store, APP,
				    kms_text_of(keys[i * 389 % HOT], key_len), s->now_ms));
	}
	*us = (double)(bench_thread_ns() - start) / 1e3 / HOT_GETS;
	return KMS_OK;
}

static kms_status bench_hot(shelf *few, shelf *many)
{
	static char keys[HOT][KEY_TEXT];
	double low[HOT_ROUNDS], high[HOT_ROUNDS], units[HOT_ROUNDS];
	size_t key_len = 0;

	for (size_t i = 0; i < HOT; i++)
		key_len = key_text(keys[i], i * (MANY / HOT));
	GUARD(shelf_open(few));
	GUARD(shelf_open(many));
	for (size_t i = 0; i < MANY; i++) {
		GUARD(put_one(many, i, 64));
		if (i % (MANY / HOT) == 0) GUARD(put_one(few, i, 64));
	}
	for (size_t i = 0; i < HOT_ROUNDS; i++) {
		units[i] = bench_unit_us();
		GUARD(time_hot(&low[i], few, keys, key_len));
		GUARD(time_hot(&high[i], many, keys, key_len));
	}
	double unit = bench_median(units, HOT_ROUNDS);
	double below = bench_median(low, HOT_ROUNDS), above = bench_median(high, HOT_ROUNDS);
	printf("  %-42s %12.3f %12s %10.4f\n", "get of 1000 hot keys among 1e3", below, "", below / unit);
	printf("  %-42s %12.3f %12s %10.4f\n", "get of 1000 hot keys among 1e6", above, "", above / unit);
	bench_at_most("hot keys, among 1e6 by among 1e3", above / below, 1.3);
	return KMS_OK;
}

int main(void)
{
	static shelf few, many, without, with;
	if (!bench_begin()) return 1;
	bench_title("Store");
	kms_status status = bench_operations();
	if (status == KMS_OK) status = bench_tree(&without, &with);
	shelf_close(&without);
	shelf_close(&with);
	if (status == KMS_OK) status = bench_hot(&few, &many);
	if (status != KMS_OK) (void)bench_failed("store", status);
	shelf_close(&few);
	shelf_close(&many);
	return bench_exit();
}
