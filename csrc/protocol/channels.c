/*
 * The cache of channel keys: a hash table whose entries are also linked in order of use. The lock is
 * held for look-ups and links only, never during an ECDH. When two threads miss the same pair at once,
 * both derive its key and the first one's stays.
 */
#include <pthread.h>
#include <string.h>

#include "base/mem.h"
#include "base/ensure.h"
#include "base/siphash.h"
#include "kms/crypto.h"
#include "kms/envelope.h"

#define MAX_CHANNELS 65536
#define KEY_BYTES 32
#define CHANNEL_INFO "encryption data"

/* The key of the table: own point and peer's point. */
typedef struct pair {
	uint8_t own97[KMS_P384_POINT];
	uint8_t peer97[KMS_P384_POINT];
} pair;

typedef struct channel channel;
struct channel {
	channel *next_in_bucket;
	channel *newer; /* towards the most recently used */
	channel *older;
	kms_secret *key;
	size_t bucket;
	pair pair;
};

struct kms_channels {
	pthread_mutex_t lock; /* guards everything below except the hash key and the sizes */
	channel **buckets;
	size_t bucket_mask;
	size_t max;
	size_t count;
	channel *newest;
	channel *oldest;
	kms_siphash_key hash_key;
};

static pair pair_of(const kms_p384 *own, const uint8_t peer97[97])
{
	pair made;
	memcpy(made.own97, kms_p384_public(own), sizeof(made.own97));
	memcpy(made.peer97, peer97, sizeof(made.peer97));
	return made;
}

static size_t bucket_of(const kms_channels *channels, const pair *wanted)
{
	return kms_siphash(&channels->hash_key, kms_span_of(wanted, sizeof(*wanted))) & channels->bucket_mask;
}

/* ---- under the lock ---- */

static void unlink_use(kms_channels *channels, channel *c)
{
	*(c->newer ? &c->newer->older : &channels->newest) = c->older;
	*(c->older ? &c->older->newer : &channels->oldest) = c->newer;
}

static void link_newest(kms_channels *channels, channel *c)
{
	c->newer = NULL;
	c->older = channels->newest;
	*(c->older ? &c->older->newer : &channels->oldest) = c;
	channels->newest = c;
}

static channel *look_up(kms_channels *channels, size_t bucket, const pair *wanted)
{
	for (channel *c = channels->buckets[bucket]; c; c = c->next_in_bucket)
		if (memcmp(&c->pair, wanted, sizeof(*wanted)) == 0) return c;
	return NULL;
}

/* Removes the least recently used entry; the caller owns it. */
static channel *remove_oldest(kms_channels *channels)
{
	channel *c = channels->oldest;
	channel **link = &channels->buckets[c->bucket];
	while (*link != c)
		link = &(*link)->next_in_bucket;
	*link = c->next_in_bucket;
	unlink_use(channels, c);
	channels->count--;
	return c;
}

/* Makes the entry the most recently used, and returns a reference for the caller. */
static kms_secret *use(kms_channels *channels, channel *c)
{
	unlink_use(channels, c);
	link_newest(channels, c);
	return kms_secret_ref(c->key);
}

/* ---- owners ---- */

static void channel_free(channel *c)
{
	if (!c) return;
	kms_secret_unref(c->key);
	kms_heap_free(c);
}

kms_status kms_channels_new(kms_channels **channels, size_t max)
{
	ENSURE_REF(channels);
	*channels = NULL;
	ENSURE(max >= 1 && max <= MAX_CHANNELS, KMS_ERR_RANGE);
	size_t buckets = 1;
	while (buckets < max)
		buckets *= 2;
	DEFER(kms_channels_release) kms_channels *made = kms_heap_alloc(1, sizeof(*made));
	ENSURE(made, KMS_ERR_MEMORY);
	ENSURE(pthread_mutex_init(&made->lock, NULL) == 0, KMS_ERR_SYSTEM);
	made->max = max;
	made->bucket_mask = buckets - 1;
	made->buckets = kms_heap_alloc(buckets, sizeof(channel *));
	ENSURE(made->buckets, KMS_ERR_MEMORY);
	GUARD(kms_siphash_key_new(&made->hash_key));
	*channels = made;
	made = NULL;
	return KMS_OK;
}

void kms_channels_free(kms_channels *channels)
{
	if (!channels) return;
	while (channels->oldest)
		channel_free(remove_oldest(channels));
	kms_heap_free(channels->buckets);
	(void)pthread_mutex_destroy(&channels->lock);
	kms_heap_free(channels);
}

/* ---- use ---- */

kms_secret *kms_channels_find(kms_channels *channels, const kms_p384 *own, const uint8_t peer97[97])
{
	if (!channels || !own || !peer97) return NULL;
	pair wanted = pair_of(own, peer97);
	size_t bucket = bucket_of(channels, &wanted);
	pthread_mutex_lock(&channels->lock);
	channel *c = look_up(channels, bucket, &wanted);
	kms_secret *key = c ? use(channels, c) : NULL;
	pthread_mutex_unlock(&channels->lock);
	return key;
}

static kms_status derive_key(kms_secret **key32, const kms_p384 *own, const uint8_t peer97[97])
{
	DEFER(kms_secret_release) kms_secret *x48 = NULL;
	DEFER(kms_guarded_release) uint8_t *key = kms_guarded_alloc(KEY_BYTES);
	ENSURE(key, KMS_ERR_LOCKED_MEMORY);
	GUARD(kms_p384_ecdh(&x48, own, peer97));
	GUARD(kms_hkdf_sha256(kms_out_of(key, KEY_BYTES), kms_secret_span(x48), KMS_NO_BYTES,
			      KMS_BYTES(CHANNEL_INFO)));
	return kms_secret_new(key32, kms_span_of(key, KEY_BYTES));
}

/* Adds an entry unless another thread was first. Returns a reference to the key that is cached now. */
static kms_secret *keep(kms_channels *channels, channel *fresh)
{
	channel *unused = NULL;
	pthread_mutex_lock(&channels->lock);
	channel *held = look_up(channels, fresh->bucket, &fresh->pair);
	if (held) unused = fresh;
	if (!held) {
		if (channels->count == channels->max) unused = remove_oldest(channels);
		fresh->next_in_bucket = channels->buckets[fresh->bucket];
		channels->buckets[fresh->bucket] = fresh;
		link_newest(channels, fresh);
		channels->count++;
		held = fresh;
	}
	kms_secret *key = use(channels, held);
	pthread_mutex_unlock(&channels->lock);
	channel_free(unused);
	return key;
}

kms_status kms_channels_get(kms_secret **key32, kms_channels *channels, const kms_p384 *own,
			    const uint8_t peer97[97])
{
	ENSURE_REF(key32);
	*key32 = NULL;
	ENSURE_REF(channels);
	ENSURE_REF(own);
	ENSURE_REF(peer97);
	*key32 = kms_channels_find(channels, own, peer97);
	if (*key32) return KMS_OK;

	DEFER(kms_secret_release) kms_secret *derived = NULL;
	GUARD(derive_key(&derived, own, peer97));
	channel *fresh = kms_heap_alloc(1, sizeof(*fresh));
	ENSURE(fresh, KMS_ERR_MEMORY);
	fresh->key = kms_secret_ref(derived);
	fresh->pair = pair_of(own, peer97);
	fresh->bucket = bucket_of(channels, &fresh->pair);
	*key32 = keep(channels, fresh);
	return KMS_OK;
}

size_t kms_channels_count(kms_channels *channels)
{
	if (!channels) return 0;
	pthread_mutex_lock(&channels->lock);
	size_t count = channels->count;
	pthread_mutex_unlock(&channels->lock);
	return count;
}
