#include "kms/nonce.h"

#include <pthread.h>
#include <string.h>

#include "base/bits.h"
#include "base/declassify.h"
#include "base/mem.h"
#include "base/ensure.h"
#include "kms/codec.h"
#include "kms/crypto.h"

#define BLOCK 16
#define BLOCK_COUNTER 8 /* offsets; the second is at 0 */
#define BLOCK_ZEROS 12
#define MAX_LIFETIME_S 3600
#define WORD_BITS 64
#define RING_WORDS (KMS_NONCE_RING / WORD_BITS)

/*
 * The ring has one bit for each nonce that can be outstanding: set when the nonce is consumed, cleared
 * when its number is issued again, one lap later. One lock covers age, bit and counter. Otherwise a
 * thread could find an old nonce in time and test its bit just after another thread had cleared it for
 * the next lap: the nonce would be accepted twice. The lock is never held during AES.
 */
struct kms_nonces {
	pthread_mutex_t lock;
	kms_aes_block *cipher;
	uint64_t *used;
	uint64_t *first; /* number of the first nonce of each second within the lifetime */
	uint64_t slots;  /* seconds in `first`: the lifetime and the running one */
	uint64_t latest_s;
	uint64_t next; /* number of the next nonce */
};

KMS_DEFINE_RELEASE(nonces_release, kms_nonces, kms_nonces_free)

kms_status kms_nonces_new(kms_nonces **nonces, unsigned lifetime_s)
{
	ENSURE_REF(nonces);
	*nonces = NULL;
	ENSURE(lifetime_s >= 1 && lifetime_s <= MAX_LIFETIME_S, KMS_ERR_RANGE);
	DEFER(nonces_release) kms_nonces *made = kms_heap_alloc(1, sizeof(*made));
	ENSURE(made, KMS_ERR_MEMORY);
	pthread_mutex_init(&made->lock, NULL);
	made->slots = (uint64_t)lifetime_s + 1;
	made->first = kms_heap_alloc(made->slots, sizeof(*made->first));
	made->used = kms_heap_alloc(RING_WORDS, sizeof(*made->used));
	ENSURE(made->first && made->used, KMS_ERR_MEMORY);
	DEFER(kms_secret_release) kms_secret *key = NULL;
	GUARD(kms_secret_random(&key, 32));
	GUARD(kms_aes_block_new(&made->cipher, key));
	*nonces = made;
	made = NULL;
	return KMS_OK;
}

void kms_nonces_free(kms_nonces *nonces)
{
	if (!nonces) return;
	kms_aes_block_free(nonces->cipher);
	kms_heap_free(nonces->used);
	kms_heap_free(nonces->first);
	pthread_mutex_destroy(&nonces->lock);
	kms_heap_free(nonces);
}

/* Moves the clock on; each second that begins replaces one that has left the lifetime. */
static void advance(kms_nonces *n, uint64_t now_s)
{
	if (now_s <= n->latest_s) return;
	uint64_t fresh = now_s - n->latest_s;
	if (fresh > n->slots) fresh = n->slots;
	for (uint64_t back = 0; back < fresh; back++)
		n->first[(now_s - back) % n->slots] = n->next;
	n->latest_s = now_s;
}

/* Nonces issued since the oldest second of the lifetime. */
static uint64_t outstanding(const kms_nonces *n)
{
	return n->next - n->first[(n->latest_s + 1) % n->slots];
}

static inline uint64_t used_bit(uint64_t number)
{
	return 1ull << number % WORD_BITS;
}

static inline uint64_t *used_word(kms_nonces *n, uint64_t number)
{
	return &n->used[number % KMS_NONCE_RING / WORD_BITS];
}

static kms_status draw(uint64_t *number, uint64_t *second, kms_nonces *n, uint64_t now_s)
{
	pthread_mutex_lock(&n->lock);
	advance(n, now_s);
	bool room = outstanding(n) < KMS_NONCE_RING;
	*number = n->next;
	*second = n->latest_s;
	if (room) {
		*used_word(n, n->next) &= ~used_bit(n->next);
		n->next++;
	}
	pthread_mutex_unlock(&n->lock);
	return room ? KMS_OK : KMS_ERR_NONCES_OUT;
}

kms_status kms_nonces_issue(char text24[KMS_NONCE_TEXT], kms_nonces *nonces, uint64_t now_s)
{
	ENSURE_REF(text24);
	memset(text24, 0, KMS_NONCE_TEXT);
	ENSURE_REF(nonces);
	uint64_t number, second;
	GUARD(draw(&number, &second, nonces, now_s));
	uint8_t plain[BLOCK] = { 0 }, sealed[BLOCK];
	kms_store64_le(plain, second);
	kms_store32_le(plain + BLOCK_COUNTER, (uint32_t)(number % KMS_NONCE_RING));
	GUARD(kms_aes_block_encrypt(sealed, nonces->cipher, plain));
	(void)kms_base64_encode(text24, kms_span_of(sealed, BLOCK));
	return KMS_OK;
}

/* Marks a nonce used. */
static kms_status redeem(kms_nonces *n, uint64_t number, uint64_t second, uint64_t now_s)
{
	pthread_mutex_lock(&n->lock);
	advance(n, now_s);
	uint64_t *word = used_word(n, number);
	bool current = second <= n->latest_s && n->latest_s - second < n->slots;
	bool used = (*word & used_bit(number)) != 0;
	if (current) *word |= used_bit(number);
	pthread_mutex_unlock(&n->lock);
	ENSURE(current, KMS_ERR_POP_NONCE);
	return used ? KMS_ERR_POP_NONCE_USED : KMS_OK;
}

kms_status kms_nonces_consume(kms_nonces *nonces, kms_text text, uint64_t now_s)
{
	ENSURE_REF(nonces);
	ENSURE_REF(text.text);
	ENSURE(text.len == KMS_NONCE_TEXT, KMS_ERR_POP_NONCE);
	uint8_t sealed[KMS_NONCE_TEXT / 4 * 3], plain[BLOCK];
	static const uint8_t zeros[BLOCK - BLOCK_ZEROS];
	size_t sealed_len;
	ENSURE(kms_base64_decode(sealed, &sealed_len, text) == KMS_OK && sealed_len == BLOCK,
	       KMS_ERR_POP_NONCE);
	GUARD(kms_aes_block_decrypt(plain, nonces->cipher, sealed));
	ENSURE(kms_equal_ct(plain + BLOCK_ZEROS, zeros, sizeof(zeros)), KMS_ERR_POP_NONCE);
	/* This node issued it: its time and number are not secret. */
	KMS_DECLASSIFY_BYTES(plain, sizeof(plain));
	uint32_t number = kms_load32_le(plain + BLOCK_COUNTER);
	ENSURE(number < KMS_NONCE_RING, KMS_ERR_POP_NONCE);
	return redeem(nonces, number, kms_load64_le(plain), now_s);
}

uint64_t kms_nonces_out(kms_nonces *nonces, uint64_t now_s)
{
	ENSURE(nonces, 0);
	pthread_mutex_lock(&nonces->lock);
	advance(nonces, now_s);
	uint64_t out = outstanding(nonces);
	pthread_mutex_unlock(&nonces->lock);
	return out;
}

uint64_t kms_nonces_issued(kms_nonces *nonces)
{
	ENSURE(nonces, 0);
	pthread_mutex_lock(&nonces->lock);
	uint64_t issued = nonces->next;
	pthread_mutex_unlock(&nonces->lock);
	return issued;
}
