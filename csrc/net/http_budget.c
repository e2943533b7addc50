/*
 * The memory that the bodies of all parsers share. Three pools use it: bodies of up to KMS_HTTP_SMALL_BODY,
 * larger ones, and those of members. A pool may always use its reserve; beyond it, what the others' reserves
 * leave. Beside that, a caller that is no member has a share: its slow or many bodies take nothing from other
 * callers.
 *
 * Request lines of more than KMS_HTTP_SHORT_LINE bytes have memory of their own, with a share for each
 * client: anybody can send them. Where it is full, whoever holds most loses the line that has been arriving
 * for longest. A line that is sent without delay is never that one, whatever others have begun.
 */
#include "net/http_internal.h"

#include <pthread.h>

#include "base/ensure.h"
#include "base/mem.h"
#include "base/siphash.h"

static const kms_http_refusal no_memory = { 503, "service_unavailable", "too many bodies in flight" };
static const kms_http_refusal no_share = { 429, "rate_limited", "too many bodies of this caller in flight" };
const kms_http_refusal kms_http_no_line = { 503, "service_unavailable",
					    "too many long request lines in flight" };
static const kms_http_refusal no_line_share = { 429, "rate_limited",
						"too many long request lines of this address" };

#define LINE_TOTAL (16u << 20)
#define LINE_SHARE (4u << 20)
#define ARRIVING_COPIES 2 /* of a request line: its buffer grows by doubling */
#define LINE_COPIES 4     /* of a complete one at once: input, head, and two in Lua */

/* A caller with bodies in flight. */
typedef struct body_caller {
	struct body_caller *next;
	uint64_t id;
	size_t held;
} body_caller;

#define BUCKETS 64

static struct {
	pthread_mutex_t lock; /* guards everything below */
	kms_siphash_key key;
	kms_http_body_limits limits;
	size_t held[KMS_HTTP_POOLS];
	size_t lines;
	body_caller *callers[BUCKETS];
	body_caller *clients[BUCKETS]; /* with long request lines; 0 stands for all that are not told apart */
	TAILQ_HEAD(kms_http_lines, kms_http_line) arriving; /* the oldest first */
} budget = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.limits = { .total = SIZE_MAX, .share = SIZE_MAX },
	.arriving = TAILQ_HEAD_INITIALIZER(budget.arriving),
};

kms_status kms_http_set_body_limits(kms_http_body_limits limits)
{
	kms_siphash_key key;
	GUARD(kms_siphash_key_new(&key));
	pthread_mutex_lock(&budget.lock);
	/* Bodies in flight are known by the key that they began with. */
	if (!budget.key.k0 && !budget.key.k1) budget.key = key;
	budget.limits = limits;
	pthread_mutex_unlock(&budget.lock);
	return KMS_OK;
}

size_t kms_http_body_in_flight(void)
{
	size_t sum = 0;
	pthread_mutex_lock(&budget.lock);
	for (unsigned i = 0; i < KMS_HTTP_POOLS; i++)
		sum += budget.held[i];
	pthread_mutex_unlock(&budget.lock);
	return sum;
}

size_t kms_http_lines_in_flight(void)
{
	pthread_mutex_lock(&budget.lock);
	size_t lines = budget.lines;
	pthread_mutex_unlock(&budget.lock);
	return lines;
}

uint64_t kms_http_hash_caller(kms_text caller)
{
	if (!caller.text) return 0;
	uint64_t hash = kms_siphash(&budget.key, kms_text_span(caller));
	return hash ? hash : 1;
}

/* ---- pools ------------------------------------------------------------------------------------ */

static size_t reserve_of(kms_http_pool pool)
{
	if (pool == KMS_HTTP_POOL_SMALL) return budget.limits.small_reserve;
	return pool == KMS_HTTP_POOL_MEMBER ? budget.limits.member_reserve : 0;
}

/* Whether a pool may hold `bytes` in all. */
static bool pool_has_room(kms_http_pool pool, size_t bytes)
{
	if (bytes <= reserve_of(pool)) return bytes <= budget.limits.total;
	size_t left = budget.limits.total;
	for (kms_http_pool i = 0; i < KMS_HTTP_POOLS; i++) {
		size_t held = i == pool ? bytes : budget.held[i];
		size_t taken = held > reserve_of(i) ? held : reserve_of(i);
		if (taken > left) return false;
		left -= taken;
	}
	return true;
}

/* A chunked body that outgrows the small ones leaves their pool. */
static kms_http_pool pool_for(const kms_http_charge *charge, size_t bytes)
{
	bool outgrown = charge->pool == KMS_HTTP_POOL_SMALL && bytes > KMS_HTTP_SMALL_BODY;
	return outgrown ? KMS_HTTP_POOL_LARGE : charge->pool;
}

/* ---- callers ---------------------------------------------------------------------------------- */

/* Where a caller is linked in `table`, or where its entry belongs. */
static body_caller **find_caller(body_caller **table, uint64_t id)
{
	body_caller **at = &table[id % BUCKETS];
	while (*at && (*at)->id != id)
		at = &(*at)->next;
	return at;
}

/* Whether the caller's share has room for `bytes`, which it then holds. */
static bool take_share(body_caller **table, uint64_t id, size_t share, size_t bytes)
{
	body_caller **at = find_caller(table, id);
	size_t held = *at ? (*at)->held : 0;
	if (held > share || bytes > share - held) return false;
	if (!*at) {
		*at = kms_heap_alloc(1, sizeof(**at));
		if (!*at) return false;
		(*at)->id = id;
	}
	(*at)->held += bytes;
	return true;
}

static void return_share(body_caller **table, uint64_t id, size_t bytes)
{
	body_caller **at = find_caller(table, id), *caller = *at;
	if (!caller) return;
	caller->held -= bytes;
	if (caller->held > 0) return;
	*at = caller->next;
	kms_heap_free(caller);
}

/* ---- charges ---------------------------------------------------------------------------------- */

void kms_http_charge_start(kms_http_charge *charge, kms_http_body_owner owner, size_t announced)
{
	*charge = (kms_http_charge){ .pool = KMS_HTTP_POOL_SMALL };
	if (announced > KMS_HTTP_SMALL_BODY) charge->pool = KMS_HTTP_POOL_LARGE;
	if (owner.is_member) charge->pool = KMS_HTTP_POOL_MEMBER;
	charge->shares = owner.caller.text && !owner.is_member;
	if (charge->shares) charge->caller = kms_http_hash_caller(owner.caller);
}

/* Moves what is charged already to another pool, whether or not that has room: add() checks. */
static void move(kms_http_charge *charge, kms_http_pool pool)
{
	budget.held[charge->pool] -= charge->bytes;
	budget.held[pool] += charge->bytes;
	charge->pool = pool;
}

static const kms_http_refusal *add(kms_http_charge *charge, size_t bytes)
{
	kms_http_pool before = charge->pool;
	move(charge, pool_for(charge, charge->bytes + bytes));
	bool has_room = pool_has_room(charge->pool, budget.held[charge->pool] + bytes);
	const kms_http_refusal *refusal = has_room ? NULL : &no_memory;
	if (!refusal && charge->shares &&
	    !take_share(budget.callers, charge->caller, budget.limits.share, bytes))
		refusal = &no_share;
	if (refusal) {
		move(charge, before);
		return refusal;
	}
	budget.held[charge->pool] += bytes;
	charge->bytes += bytes;
	return NULL;
}

const kms_http_refusal *kms_http_charge_add(kms_http_charge *charge, size_t bytes)
{
	if (bytes == 0) return NULL;
	pthread_mutex_lock(&budget.lock);
	const kms_http_refusal *refusal = add(charge, bytes);
	pthread_mutex_unlock(&budget.lock);
	return refusal;
}

void kms_http_charge_release(kms_http_charge *charge)
{
	if (charge->bytes == 0) return;
	pthread_mutex_lock(&budget.lock);
	budget.held[charge->pool] -= charge->bytes;
	if (charge->shares) return_share(budget.callers, charge->caller, charge->bytes);
	pthread_mutex_unlock(&budget.lock);
	charge->bytes = 0;
}

/* ---- long request lines ------------------------------------------------------------------------- */

static size_t held_by(uint64_t client)
{
	const body_caller *caller = *find_caller(budget.clients, client);
	return caller ? caller->held : 0;
}

static void set_arriving(kms_http_line *line, bool arriving)
{
	if (line->arriving == arriving) return;
	line->arriving = arriving;
	if (arriving)
		TAILQ_INSERT_TAIL(&budget.arriving, line, link);
	else
		TAILQ_REMOVE(&budget.arriving, line, link);
}

static void return_line(kms_http_line *line, size_t bytes)
{
	if (bytes == 0) return;
	budget.lines -= bytes;
	line->bytes -= bytes;
	return_share(budget.clients, line->client, bytes);
	if (line->bytes == 0) set_arriving(line, false);
}

/* Frees the line that has been arriving for longest of a client that holds most, and no less than `client`.
 * Returns false where there is none but `line`. */
static bool drop_another(const kms_http_line *line)
{
	kms_http_line *at, *found = NULL;
	size_t most = held_by(line->client) - 1;
	TAILQ_FOREACH(at, &budget.arriving, link)
	{
		/* cppcheck-suppress uninitvar ; TAILQ_FOREACH has set it */
		size_t held = held_by(at->client);
		if (held <= most) continue;
		most = held;
		found = at;
	}
	if (!found || found == line) return false;
	return_line(found, found->bytes);
	found->dropped = true;
	kms_buf_free(found->input);
	return true;
}

static const kms_http_refusal *add_line(kms_http_line *line, size_t bytes)
{
	size_t share = line->client ? LINE_SHARE : SIZE_MAX;
	if (!take_share(budget.clients, line->client, share, bytes)) return &no_line_share;
	budget.lines += bytes;
	line->bytes += bytes;
	while (budget.lines > LINE_TOTAL) {
		if (drop_another(line)) continue;
		return_line(line, bytes);
		return &kms_http_no_line;
	}
	return NULL;
}

const kms_http_refusal *kms_http_charge_line(kms_http_line *line, size_t len, bool complete)
{
	if (len <= KMS_HTTP_SHORT_LINE) return NULL;
	size_t bytes = (complete ? LINE_COPIES : ARRIVING_COPIES) * len;
	const kms_http_refusal *refusal = NULL;
	pthread_mutex_lock(&budget.lock);
	set_arriving(line, !complete);
	if (bytes > line->bytes) refusal = add_line(line, bytes - line->bytes);
	pthread_mutex_unlock(&budget.lock);
	return refusal;
}

void kms_http_release_line(kms_http_line *line)
{
	if (line->bytes == 0 && !line->arriving) return;
	pthread_mutex_lock(&budget.lock);
	return_line(line, line->bytes);
	set_arriving(line, false);
	pthread_mutex_unlock(&budget.lock);
}
