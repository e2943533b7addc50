#include "kms/limit.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <string.h>

#include "base/mem.h"
#include "base/ensure.h"
#include "protocol/bucket_table_internal.h"

#define MAX_PER_MINUTE 1000000000u
#define MAX_BUCKETS 1000000u
#define MIN_POLICY_BUCKETS 8
#define MAX_RATE 1e9
#define MAX_BURST 1e12
#define MAX_NOW_MS 10000000000000ull /* 317 years of uptime */
#define CENTURY ((moment)100 * 365 * 86400 * PS_PER_S)

/* Above MAX_NOW_MS: at a rate as slow as that, a token never comes. Sums of it stay within 128 bits. */
#define MAX_INTERVAL 1e23

/* ---- one rate for all keys ---- */

struct kms_limiter {
	pthread_mutex_t lock;
	bucket_table table;
	token_rate rate;
	moment shared_full_at; /* the bucket of the keys that found no room */
};

KMS_DEFINE_RELEASE(limiter_release, kms_limiter, kms_limiter_free)

kms_status kms_limiter_new(kms_limiter **limiter, uint32_t per_minute, uint32_t burst, size_t max_keys)
{
	ENSURE_REF(limiter);
	*limiter = NULL;
	ENSURE(per_minute >= 1 && per_minute <= MAX_PER_MINUTE && burst >= 1, KMS_ERR_RANGE);
	ENSURE(max_keys >= 1 && max_keys <= MAX_BUCKETS, KMS_ERR_RANGE);
	moment interval = 60 * PS_PER_S / per_minute;
	ENSURE(interval * burst <= CENTURY, KMS_ERR_RANGE);
	DEFER(limiter_release) kms_limiter *made = kms_heap_alloc(1, sizeof(*made));
	ENSURE(made, KMS_ERR_MEMORY);
	pthread_mutex_init(&made->lock, NULL);
	made->rate = (token_rate){ interval, interval * burst };
	GUARD(kms_bucket_table_make(&made->table, (uint32_t)max_keys));
	*limiter = made;
	made = NULL;
	return KMS_OK;
}

void kms_limiter_free(kms_limiter *limiter)
{
	if (!limiter) return;
	kms_bucket_table_clear(&limiter->table);
	pthread_mutex_destroy(&limiter->lock);
	kms_heap_free(limiter);
}

static uint64_t whole_ms(moment wait)
{
	return (uint64_t)((wait + PS_PER_MS - 1) / PS_PER_MS);
}

/* Takes a token of a key's bucket, or of the shared one. Returns: the time to wait, 0 when one was taken. */
static moment take(kms_limiter *limiter, kms_span key)
{
	moment wait;
	if (!kms_bucket_table_take(&wait, &limiter->table, kms_bucket_table_id(&limiter->table, key),
				   limiter->rate))
		wait = kms_bucket_draw(&limiter->shared_full_at, limiter->table.now, limiter->rate);
	return wait;
}

/* The same for an address within a network. A network without a token gets no bucket for one more address. */
static moment take_in_network(kms_limiter *limiter, kms_span network, kms_span key)
{
	const token_rate rate = { limiter->rate.interval / KMS_LIMIT_NETWORK_SHARE, limiter->rate.span };
	uint64_t id = kms_bucket_table_id(&limiter->table, network);
	moment wait = kms_bucket_table_wait(&limiter->table, id, rate), unused;
	if (wait == 0) wait = take(limiter, key);
	/* Where the table has no room, the shared bucket has limited the network already. */
	if (wait == 0) (void)kms_bucket_table_take(&unused, &limiter->table, id, rate);
	return wait;
}

kms_status kms_limiter_take(uint64_t *retry_after_ms, kms_limiter *limiter, kms_span key, uint64_t now_ms)
{
	if (retry_after_ms) *retry_after_ms = 0;
	ENSURE_REF(limiter);
	ENSURE_REF(key.bytes);
	ENSURE(key.len >= 1 && key.len <= KMS_LIMIT_KEY && now_ms <= MAX_NOW_MS, KMS_ERR_RANGE);
	pthread_mutex_lock(&limiter->lock);
	kms_bucket_table_advance(&limiter->table, now_ms);
	moment wait = take(limiter, key);
	pthread_mutex_unlock(&limiter->lock);
	if (retry_after_ms) *retry_after_ms = whole_ms(wait);
	return wait == 0 ? KMS_OK : KMS_ERR_RATE;
}

kms_status kms_limiter_take_address(uint64_t *retry_after_ms, kms_limiter *limiter, const char *address,
				    uint64_t now_ms)
{
	uint8_t key8[8];
	size_t key_len, network_len;
	if (retry_after_ms) *retry_after_ms = 0;
	ENSURE_REF(limiter);
	ENSURE(now_ms <= MAX_NOW_MS, KMS_ERR_RANGE);
	GUARD(kms_address_limit_key(key8, &key_len, &network_len, address));
	kms_span key = kms_span_of(key8, key_len);
	pthread_mutex_lock(&limiter->lock);
	kms_bucket_table_advance(&limiter->table, now_ms);
	moment wait = network_len < key_len ? take_in_network(limiter, kms_span_of(key8, network_len), key)
					    : take(limiter, key);
	pthread_mutex_unlock(&limiter->lock);
	if (retry_after_ms) *retry_after_ms = whole_ms(wait);
	return wait == 0 ? KMS_OK : KMS_ERR_RATE;
}

size_t kms_limiter_count(kms_limiter *limiter)
{
	ENSURE(limiter, 0);
	pthread_mutex_lock(&limiter->lock);
	size_t count = kms_bucket_table_count(&limiter->table);
	pthread_mutex_unlock(&limiter->lock);
	return count;
}

kms_status kms_address_limit_key(uint8_t key8[8], size_t *key_len, size_t *network_len, const char *address)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	ENSURE_REF(key8);
	ENSURE_REF(key_len);
	ENSURE_REF(network_len);
	memset(key8, 0, 8);
	*key_len = *network_len = 0;
	ENSURE_REF(address);
	uint8_t bytes[16];
	if (inet_pton(AF_INET, address, bytes) == 1) {
		memcpy(key8, bytes, 4);
		*key_len = *network_len = 4;
		return KMS_OK;
	}
	ENSURE(inet_pton(AF_INET6, address, bytes) == 1, KMS_ERR_ARGUMENT);
	bool is_mapped = memcmp(bytes, mapped, sizeof(mapped)) == 0;
	*key_len = is_mapped ? 4 : 8;
	*network_len = is_mapped ? 4 : 6;
	memcpy(key8, is_mapped ? bytes + 12 : bytes, *key_len);
	return KMS_OK;
}

/* ---- a rate with each call ---- */

struct kms_buckets {
	pthread_mutex_t lock;
	bucket_table table;
};

KMS_DEFINE_RELEASE(buckets_release, kms_buckets, kms_buckets_free)

kms_status kms_buckets_new(kms_buckets **buckets, size_t max)
{
	ENSURE_REF(buckets);
	*buckets = NULL;
	ENSURE(max >= MIN_POLICY_BUCKETS && max <= MAX_BUCKETS, KMS_ERR_RANGE);
	DEFER(buckets_release) kms_buckets *made = kms_heap_alloc(1, sizeof(*made));
	ENSURE(made, KMS_ERR_MEMORY);
	pthread_mutex_init(&made->lock, NULL);
	GUARD(kms_bucket_table_make(&made->table, (uint32_t)max));
	*buckets = made;
	made = NULL;
	return KMS_OK;
}

void kms_buckets_free(kms_buckets *buckets)
{
	if (!buckets) return;
	kms_bucket_table_clear(&buckets->table);
	pthread_mutex_destroy(&buckets->lock);
	kms_heap_free(buckets);
}

/* The whole tokens of a burst are multiplied as integers: rounding may not cost the last one. */
static token_rate rate_of(double per_second, double burst)
{
	double wanted = (double)PS_PER_S / per_second;
	moment interval = (moment)(wanted < MAX_INTERVAL ? wanted : MAX_INTERVAL);
	uint64_t whole = (uint64_t)burst;
	moment fraction = (moment)((burst - (double)whole) * (double)interval);
	return (token_rate){ interval, whole * interval + fraction };
}

kms_status kms_buckets_take(kms_buckets *buckets, kms_span key, double rate, double burst, uint64_t now_ms)
{
	ENSURE(buckets && (key.bytes || key.len == 0), KMS_ERR_ARGUMENT);
	/* Written so that NaN fails. */
	ENSURE(rate > 0 && rate <= MAX_RATE && burst >= 1 && burst <= MAX_BURST, KMS_ERR_RANGE);
	ENSURE(now_ms <= MAX_NOW_MS, KMS_ERR_RANGE);
	struct {
		uint64_t key;
		double rate, burst;
	} name = { kms_bucket_table_id(&buckets->table, key), rate, burst };
	uint64_t id = kms_bucket_table_id(&buckets->table, kms_span_of(&name, sizeof(name)));
	moment wait;
	pthread_mutex_lock(&buckets->lock);
	kms_bucket_table_advance(&buckets->table, now_ms);
	bool found_room = kms_bucket_table_take(&wait, &buckets->table, id, rate_of(rate, burst));
	pthread_mutex_unlock(&buckets->lock);
	return found_room && wait == 0 ? KMS_OK : KMS_ERR_RATE;
}
