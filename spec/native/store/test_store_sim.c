/*
 * Properties of merging over schedules of real writes: several nodes with clocks that differ
 * within the bound, random puts and deletes, records exchanged in any order and repetition,
 * evictions, expiry, restarts. After a complete exchange every node holds the same, and that is
 * the write that must win by docs/protocol.md section 8: no acknowledged write was ignored by a peer.
 *
 * A write is stamped after everything its node knew, so the largest (stamp, ciphertext) of all
 * writes must win: the nodes are compared with that one, by a model that knows nothing of clocks or
 * floors. (Clocks may differ in the end: two nodes may have joined different losers to the winner.)
 *
 * SEED=n runs one schedule.
 */
#include "store_kit.h"

#define MAX_NODES 4
#define KEYS 3
#define MAX_WRITES 400
#define ROUNDS 12 /* of a complete exchange: one node's record reaches all in fewer */

typedef struct scenario {
	bool ties;      /* time stands still for long, so that stamps are equal */
	bool evictions; /* quota of two records */
	bool expiry;
	bool restarts;
	bool drops; /* records that all have acknowledged are dropped early */
} scenario;

/* One acknowledged write. */
typedef struct written {
	int key;
	uint64_t at_ms;
	uint8_t value[MIN_VALUE];
	size_t value_len; /* 0: a delete */
	uint64_t ttl_ms;
	uint32_t holders; /* bit set of nodes that took it over */
	bool lost;
} written;

typedef struct world {
	scenario plan;
	uint64_t seed;
	uint64_t now_ms;
	int nodes;
	kms_store *stores[MAX_NODES];
	uint64_t offset_ms[MAX_NODES];
	written writes[MAX_WRITES];
	int write_count;
} world;

static const char *const key_names[KEYS] = { "a", "b", "c" };

static kms_store *node_new(const world *w, int node)
{
	kms_store *store = NULL;
	kms_store_config config = kit_config((uint8_t)(node + 1));
	if (w->plan.evictions) config.max_app_bytes = 2 * MIN_VALUE;
	if (w->plan.drops) config.max_tombstones = 1;
	if (kms_store_new(&store, &config) != KMS_OK) abort();
	return store;
}

static uint64_t node_time(const world *w, int node)
{
	return w->now_ms + w->offset_ms[node];
}

static void world_open(world *w, scenario plan, uint64_t seed)
{
	*w = (world){ .plan = plan, .seed = seed * 0x9e3779b97f4a7c15u + 1, .now_ms = NOW };
	w->nodes = 2 + (int)kit_random(&w->seed, MAX_NODES - 1);
	for (int i = 0; i < w->nodes; i++) {
		w->stores[i] = node_new(w, i);
		w->offset_ms[i] = kit_random(&w->seed, 2) ? kit_random(&w->seed, SKEW / 2) : 0;
	}
}

static void world_close(world *w)
{
	for (int i = 0; i < w->nodes; i++)
		kms_store_free(w->stores[i]);
}

/* ---- steps ---- */

static void write_some(int *failed_, world *w, int node)
{
	written *made = &w->writes[w->write_count];
	*made = (written){ .key = (int)kit_random(&w->seed, KEYS), .holders = 1u << node };
	const char *key = key_names[made->key];
	uint64_t now_ms = node_time(w, node);
	if (kit_random(&w->seed, 4) == 0) {
		kms_status status =
		    kms_store_delete(&made->at_ms, w->stores[node], APP, kms_text_of(key, 1), now_ms);
		CHECK(status == KMS_OK || status == KMS_ERR_NOT_FOUND);
		w->write_count += status == KMS_OK;
		return;
	}
	for (size_t i = 0; i < sizeof(made->value); i++)
		made->value[i] = (uint8_t)kit_random(&w->seed, 256);
	made->value_len = sizeof(made->value);
	if (w->plan.expiry && kit_random(&w->seed, 2)) made->ttl_ms = 1 + kit_random(&w->seed, 1000);
	CHECK_OK(kms_store_put(&made->at_ms, w->stores[node], APP, kms_text_of(key, 1),
			       kms_span_of(made->value, made->value_len), made->ttl_ms, now_ms));
	w->write_count++;
}

static bool is_write(const record_copy *r, const written *made)
{
	if (r->key[0] != key_names[made->key][0] || made->at_ms != r->record.updated_at_ms) return false;
	const kms_fingerprint *kept = &r->record.fingerprint;
	if (!r->record.value.bytes && kept->len == 0) return made->value_len == 0;
	if (!r->record.value.bytes)
		return made->value_len == kept->len &&
		       memcmp(made->value, kept->iv12, sizeof(kept->iv12)) == 0;
	return made->value_len == r->record.value.len &&
	       memcmp(made->value, r->record.value.bytes, made->value_len) == 0;
}

/* Sends one record, a stub with its fingerprint. `changed` counts what the receiver took over. */
static void send_one(int *failed_, world *w, int from, int to, int key, int *changed)
{
	static record_copy r;
	kms_merge outcome;
	kms_status status = kit_peek(&r, w->stores[from], key_names[key], node_time(w, from));
	if (status == KMS_ERR_NOT_FOUND) return;
	CHECK_OK(status);
	CHECK_OK(kms_store_merge(&outcome, w->stores[to], APP, &r.record, node_time(w, to)));
	*changed += outcome == KMS_MERGE_INSERTED || outcome == KMS_MERGE_REPLACED_BY_VERSION ||
		    outcome == KMS_MERGE_REPLACED_BY_CONCURRENT_LWW;
	for (int i = 0; i < w->write_count; i++) {
		if (is_write(&r, &w->writes[i])) w->writes[i].holders |= 1u << to;
	}
}

/* Sends every record from every node to every other, in random order, until nothing changes. */
static void exchange_among(int *failed_, world *w, uint32_t nodes)
{
	for (int round = 0; round < ROUNDS; round++) {
		int changed = 0, turns = w->nodes * w->nodes * KEYS, from = (int)kit_random(&w->seed, 1000);
		for (int i = 0; i < turns; i++) {
			int turn = (i * 7919 + from) % turns; /* a prime larger than any factor of it */
			int a = turn % w->nodes, b = turn / w->nodes % w->nodes;
			if (a == b || !(nodes >> a & 1) || !(nodes >> b & 1)) continue;
			CALL(send_one, w, a, b, turn / w->nodes / w->nodes, &changed);
		}
		if (changed == 0) return;
	}
	CHECK(false); /* what nodes send each other comes to an end */
}

/*
 * A node loses its store, the others exchange everything, and it takes their snapshots. Writes that only it
 * had are lost. One snapshot is not always enough: nodes with the same content may hold different
 * clocks (each joined another loser to the winner), so that a single peer may not know the node's
 * last counter.
 */
static void restart(int *failed_, world *w, int node)
{
	uint32_t others = (1u << w->nodes) - 1 - (1u << node);
	w->now_ms += MAX_WRITES; /* writes of one millisecond are numbered ahead of the clock, and a start
				    takes longer */
	int changed = 0, sources = w->nodes - 1;
	CALL(exchange_among, w, others);
	for (int i = 0; i < w->write_count; i++)
		w->writes[i].lost |= w->writes[i].holders == 1u << node;
	kms_store_free(w->stores[node]);
	w->stores[node] = node_new(w, node);
	for (int i = 0; i < sources * KEYS; i++)
		CALL(send_one, w, (node + 1 + i / KEYS) % w->nodes, node, i % KEYS, &changed);
}

/* Exchanges everything, and lets all acknowledge it. */
static void acknowledge(int *failed_, world *w)
{
	CALL(exchange_among, w, (1u << w->nodes) - 1);
	for (int i = 0; i < w->nodes; i++)
		kms_store_set_acknowledged(w->stores[i], kms_store_sequence(w->stores[i]));
}

static void step(int *failed_, world *w)
{
	int node = (int)kit_random(&w->seed, (uint64_t)w->nodes), changed = 0;
	int other = (node + 1 + (int)kit_random(&w->seed, (uint64_t)w->nodes - 1)) % w->nodes;
	switch (kit_random(&w->seed, 10)) {
	case 0:
	case 1:
	case 2:
		if (w->write_count < MAX_WRITES) CALL(write_some, w, node);
		break;
	case 3:
		w->now_ms += w->plan.ties ? kit_random(&w->seed, 2) : kit_random(&w->seed, 700);
		break;
	case 4:
		(void)kms_store_expire(w->stores[node], node_time(w, node), 1 + kit_random(&w->seed, 3));
		break;
	case 5:
		if (w->plan.restarts && kit_random(&w->seed, 4) == 0) CALL(restart, w, node);
		if (w->plan.drops && kit_random(&w->seed, 2) == 0) CALL(acknowledge, w);
		break;
	default:
		CALL(send_one, w, node, other, (int)kit_random(&w->seed, KEYS), &changed);
	}
}

/* ---- expectations ---- */

static int compare_writes(const written *a, const written *b)
{
	if (a->at_ms != b->at_ms) return a->at_ms < b->at_ms ? -1 : 1;
	size_t shared = a->value_len < b->value_len ? a->value_len : b->value_len;
	int order = memcmp(a->value, b->value, shared);
	return order ? order : (a->value_len > b->value_len) - (a->value_len < b->value_len);
}

/* The write of a key that must have won, or NULL. */
static const written *winner_of(const world *w, int key)
{
	const written *best = NULL;
	for (int i = 0; i < w->write_count; i++) {
		const written *made = &w->writes[i];
		if (made->key != key || made->lost) continue;
		if (!best || compare_writes(made, best) > 0) best = made;
	}
	return best;
}

static void expect_winner(int *failed_, world *w, int node, const written *want)
{
	static record_copy r;
	kms_status status = kit_peek(&r, w->stores[node], key_names[want->key], node_time(w, node));
	if (w->plan.drops && want->value_len == 0 && status == KMS_ERR_NOT_FOUND) return;
	CHECK_OK(status);
	bool dead = want->value_len == 0 || (want->ttl_ms && node_time(w, node) > want->at_ms + want->ttl_ms);
	CHECK(r.record.updated_at_ms == want->at_ms && r.record.ttl_ms == want->ttl_ms);
	CHECK(r.record.state == (dead ? KMS_RECORD_TOMBSTONE : KMS_RECORD_LIVE));
	CHECK(dead || memcmp(r.record.value.bytes, want->value, want->value_len) == 0);
}

/* With a small quota each node holds the value or a stub of it, and all of the same write. */
static void expect_agreement(int *failed_, world *w, int key, const written *want)
{
	for (int i = 0; i < w->nodes; i++) {
		static record_copy r;
		CHECK_OK(kit_peek(&r, w->stores[i], key_names[key], node_time(w, i)));
		CHECK(r.record.updated_at_ms == want->at_ms);
		CHECK((r.record.state == KMS_RECORD_TOMBSTONE) == (want->value_len == 0));
		if (r.record.state == KMS_RECORD_LIVE) CHECK_MEM(r.value, want->value, MIN_VALUE);
		if (r.record.state == KMS_RECORD_STUB) CHECK_MEM(r.record.fingerprint.iv12, want->value, 12);
	}
}

static void expect_outcome(int *failed_, world *w)
{
	for (int key = 0; key < KEYS; key++) {
		const written *want = winner_of(w, key);
		if (!want) continue;
		if (w->plan.evictions) CALL(expect_agreement, w, key, want);
		if (w->plan.evictions) continue;
		for (int i = 0; i < w->nodes; i++)
			CALL(expect_winner, w, i, want);
	}
}

/* A write by a node that knows everything wins everywhere. */
static void expect_last_word(int *failed_, world *w)
{
	static record_copy r;
	uint8_t value[MIN_VALUE] = { 0xee };
	int node = (int)kit_random(&w->seed, (uint64_t)w->nodes);
	uint64_t at_ms;
	CHECK_OK(kms_store_put(&at_ms, w->stores[node], APP, KMS_TEXT("a"), KMS_SPAN(value), 0,
			       node_time(w, node)));
	CHECK_OK(kit_peek(&r, w->stores[node], "a", node_time(w, node)));
	for (int i = 0; i < w->nodes; i++) {
		kms_merge outcome;
		if (i == node) continue;
		CHECK_OK(kms_store_merge(&outcome, w->stores[i], APP, &r.record, node_time(w, i)));
		CHECK(outcome == KMS_MERGE_INSERTED || outcome == KMS_MERGE_REPLACED_BY_VERSION ||
		      outcome == KMS_MERGE_REPLACED_BY_CONCURRENT_LWW);
		CHECK(kit_get(w->stores[i], "a", node_time(w, i)) == 0xee);
	}
}

static void run_schedule(int *failed_, scenario plan, uint64_t seed)
{
	static world w;
	world_open(&w, plan, seed);
	int steps = 20 + (int)kit_random(&w.seed, 150);
	for (int i = 0; i < steps && !*failed_; i++)
		step(failed_, &w);
	if (!*failed_) exchange_among(failed_, &w, (1u << w.nodes) - 1);
	/* A node whose clock is ahead sends a tombstone before others find the value expired. */
	if (plan.expiry) w.now_ms += SKEW;
	if (!*failed_) expect_outcome(failed_, &w);
	if (!*failed_ && !plan.evictions) expect_last_word(failed_, &w);
	world_close(&w);
	if (*failed_) fprintf(stderr, "SEED=%llu\n", (unsigned long long)seed);
}

static void run_schedules(int *failed_, scenario plan, uint64_t first, uint64_t count)
{
	const char *only = getenv("SEED");
	if (only) {
		first = strtoull(only, NULL, 10);
		count = 1;
	}
	for (uint64_t i = 0; i < count; i++)
		CALL(run_schedule, plan, first + i);
}

TEST(concurrent_writes_end_in_the_same_record_everywhere)
{
	CALL(run_schedules, (scenario){ .ties = false }, 1, 2000);
}

TEST(also_when_their_stamps_are_equal)
{
	CALL(run_schedules, (scenario){ .ties = true }, 100001, 2000);
}

TEST(also_when_they_expire)
{
	CALL(run_schedules, (scenario){ .expiry = true }, 200001, 2000);
	CALL(run_schedules, (scenario){ .expiry = true, .ties = true }, 210001, 2000);
}

TEST(also_when_nodes_lose_their_store)
{
	CALL(run_schedules, (scenario){ .restarts = true }, 300001, 1000);
	CALL(run_schedules, (scenario){ .restarts = true, .ties = true }, 400001, 1000);
	CALL(run_schedules, (scenario){ .restarts = true, .expiry = true }, 500001, 1000);
}

TEST(also_when_tombstones_leave_early)
{
	CALL(run_schedules, (scenario){ .drops = true }, 800001, 2000);
	CALL(run_schedules, (scenario){ .drops = true, .ties = true }, 900001, 2000);
}

TEST(evictions_make_no_two_versions)
{
	CALL(run_schedules, (scenario){ .evictions = true }, 600001, 1000);
	CALL(run_schedules, (scenario){ .evictions = true, .ties = true }, 700001, 1000);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(concurrent_writes_end_in_the_same_record_everywhere),
	  T(also_when_their_stamps_are_equal), T(also_when_they_expire), T(also_when_nodes_lose_their_store),
	  T(also_when_tombstones_leave_early), T(evictions_make_no_two_versions))
