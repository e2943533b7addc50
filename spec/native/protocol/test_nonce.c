/* Nonces: valid once, within their lifetime, in one spelling, and bounded in number. */
#include <pthread.h>

#include "base/testing.h"
#include "kms/codec.h"
#include "kms/nonce.h"
#include "test.h"

#define LIFETIME 120
#define START 5000
#define THREADS 4
#define SHARED 2000

TEST(is_valid_exactly_once)
{
	kms_nonces *n;
	char a[KMS_NONCE_TEXT], b[KMS_NONCE_TEXT];
	CHECK_OK(kms_nonces_new(&n, LIFETIME));
	CHECK_OK(kms_nonces_issue(a, n, START));
	CHECK_OK(kms_nonces_issue(b, n, START));
	CHECK(memcmp(a, b, sizeof(a)) != 0);
	CHECK(kms_nonces_out(n, START) == 2);
	CHECK_OK(kms_nonces_consume(n, kms_text_of(b, sizeof(b)), START));
	CHECK_STATUS(KMS_ERR_POP_NONCE_USED, kms_nonces_consume(n, kms_text_of(b, sizeof(b)), START));
	CHECK_OK(kms_nonces_consume(n, kms_text_of(a, sizeof(a)), START));
	CHECK_STATUS(KMS_ERR_POP_NONCE_USED, kms_nonces_consume(n, kms_text_of(a, sizeof(a)), START + 1));
	CHECK(kms_nonces_out(n, START) == 2); /* consumed nonces still count */
	kms_nonces_free(n);
}

TEST(lives_for_its_lifetime_and_not_a_second_more)
{
	kms_nonces *n;
	char a[KMS_NONCE_TEXT], b[KMS_NONCE_TEXT];
	CHECK_OK(kms_nonces_new(&n, LIFETIME));
	CHECK_OK(kms_nonces_issue(a, n, START));
	CHECK_OK(kms_nonces_issue(b, n, START));
	CHECK_OK(kms_nonces_consume(n, kms_text_of(a, sizeof(a)), START + LIFETIME));
	CHECK(kms_nonces_out(n, START + LIFETIME) == 2);
	CHECK_STATUS(KMS_ERR_POP_NONCE,
		     kms_nonces_consume(n, kms_text_of(b, sizeof(b)), START + LIFETIME + 1));
	CHECK(kms_nonces_out(n, START + LIFETIME + 1) == 0);
	CHECK(kms_nonces_issued(n) == 2 && kms_nonces_issued(NULL) == 0);
	/* A clock that goes back revives nothing. */
	CHECK_STATUS(KMS_ERR_POP_NONCE, kms_nonces_consume(n, kms_text_of(b, sizeof(b)), START));
	CHECK_OK(kms_nonces_issue(b, n, START));
	CHECK_OK(kms_nonces_consume(n, kms_text_of(b, sizeof(b)), START + 2 * LIFETIME + 1));
	kms_nonces_free(n);
}

TEST(counts_what_was_issued_in_each_second)
{
	kms_nonces *n;
	char text[KMS_NONCE_TEXT];
	CHECK_OK(kms_nonces_new(&n, 2));
	for (uint64_t s = 0; s < 5; s++) {
		for (uint64_t i = 0; i <= s; i++)
			CHECK_OK(kms_nonces_issue(text, n, s));
	}
	CHECK(kms_nonces_out(n, 4) == 3 + 4 + 5); /* seconds 2, 3, 4 */
	CHECK(kms_nonces_out(n, 5) == 4 + 5);
	CHECK(kms_nonces_out(n, 6) == 5);
	CHECK(kms_nonces_out(n, 7) == 0);
	CHECK_OK(kms_nonces_issue(text, n, UINT64_MAX));
	CHECK(kms_nonces_out(n, UINT64_MAX) == 1);
	CHECK_OK(kms_nonces_consume(n, kms_text_of(text, sizeof(text)), UINT64_MAX));
	kms_nonces_free(n);
}

/* The last character but two of base64 of 16 bytes carries four unused bits. */
TEST(refuses_aliases_and_foreign_texts)
{
	kms_nonces *n, *other;
	char text[KMS_NONCE_TEXT], alias[KMS_NONCE_TEXT + 1];
	CHECK_OK(kms_nonces_new(&n, LIFETIME));
	CHECK_OK(kms_nonces_new(&other, LIFETIME));
	CHECK_OK(kms_nonces_issue(text, n, START));
	CHECK(text[22] == '=' && text[23] == '=');
	for (int c = 1; c < 256; c++) {
		memcpy(alias, text, sizeof(text));
		if ((char)c == alias[21]) continue;
		alias[21] = (char)c;
		CHECK_STATUS(KMS_ERR_POP_NONCE,
			     kms_nonces_consume(n, kms_text_of(alias, KMS_NONCE_TEXT), START));
	}
	memcpy(alias, text, sizeof(text));
	alias[KMS_NONCE_TEXT] = '\n';
	CHECK_STATUS(KMS_ERR_POP_NONCE, kms_nonces_consume(n, kms_text_of(alias, KMS_NONCE_TEXT + 1), START));
	CHECK_STATUS(KMS_ERR_POP_NONCE, kms_nonces_consume(n, kms_text_of(text, KMS_NONCE_TEXT - 1), START));
	CHECK_STATUS(KMS_ERR_POP_NONCE, kms_nonces_consume(n, kms_text_of(text, KMS_NONCE_TEXT - 2), START));
	CHECK_STATUS(KMS_ERR_POP_NONCE, kms_nonces_consume(n, KMS_TEXT(""), START));
	CHECK_STATUS(KMS_ERR_POP_NONCE, kms_nonces_consume(n, KMS_TEXT("AAAAAAAAAAAAAAAAAAAAAA=="), START));
	CHECK_STATUS(KMS_ERR_POP_NONCE, kms_nonces_consume(n, KMS_TEXT("AAAAAAAAAAAAAAAAAAAAAAAA"), START));
	CHECK_STATUS(KMS_ERR_POP_NONCE, kms_nonces_consume(other, kms_text_of(text, KMS_NONCE_TEXT), START));
	CHECK_OK(kms_nonces_consume(n, kms_text_of(text, KMS_NONCE_TEXT),
				    START)); /* none of these attempts consumed it */
	kms_nonces_free(n);
	kms_nonces_free(other);
}

TEST(refuses_every_change_of_a_bit)
{
	kms_nonces *n;
	char text[KMS_NONCE_TEXT], forged[KMS_NONCE_TEXT];
	uint8_t block[18];
	size_t len;
	CHECK_OK(kms_nonces_new(&n, 3600));
	CHECK_OK(kms_nonces_issue(text, n, START));
	CHECK_OK(kms_base64_decode(block, &len, kms_text_of(text, sizeof(text))));
	CHECK(len == 16);
	for (int bit = 0; bit < 128; bit++) {
		block[bit / 8] ^= (uint8_t)(1 << bit % 8);
		CHECK(kms_base64_encode(forged, kms_span_of(block, 16)) == KMS_NONCE_TEXT);
		CHECK_STATUS(KMS_ERR_POP_NONCE,
			     kms_nonces_consume(n, kms_text_of(forged, sizeof(forged)), START));
		block[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	kms_nonces_free(n);
}

TEST(checks_its_arguments)
{
	kms_nonces *n = (kms_nonces *)1;
	char text[KMS_NONCE_TEXT];
	CHECK_STATUS(KMS_ERR_RANGE, kms_nonces_new(&n, 0));
	CHECK(!n);
	CHECK_STATUS(KMS_ERR_RANGE, kms_nonces_new(&n, 3601));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_nonces_new(NULL, 1));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_nonces_issue(text, NULL, 0));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_nonces_consume(NULL, kms_text_of(text, 24), 0));
	CHECK_OK(kms_nonces_new(&n, 1));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_nonces_issue(NULL, n, 0));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_nonces_consume(n, kms_text_of(NULL, 24), 0));
	kms_nonces_free(n);
	CHECK_OK(kms_nonces_new(&n, 3600));
	kms_nonces_free(n);
	kms_nonces_free(NULL);
}

/* With 2^24 nonces outstanding no more are issued, until the oldest second has left the lifetime. */
TEST(stops_at_the_size_of_the_ring)
{
	kms_nonces *n;
	char first[KMS_NONCE_TEXT], used[KMS_NONCE_TEXT], text[KMS_NONCE_TEXT], zeros[KMS_NONCE_TEXT] = { 0 };
	CHECK_OK(kms_nonces_new(&n, LIFETIME));
	CHECK_OK(kms_nonces_issue(first, n, START));
	CHECK_OK(kms_nonces_issue(used, n, START));
	CHECK_OK(kms_nonces_consume(n, kms_text_of(used, sizeof(used)), START));
	for (uint32_t i = 2; i < KMS_NONCE_RING; i++)
		CHECK_OK(kms_nonces_issue(text, n, START + 1));
	CHECK(kms_nonces_out(n, START + 1) == KMS_NONCE_RING);
	CHECK_STATUS(KMS_ERR_NONCES_OUT, kms_nonces_issue(text, n, START + LIFETIME));
	CHECK_MEM(text, zeros, sizeof(zeros));
	CHECK_OK(kms_nonces_consume(n, kms_text_of(first, sizeof(first)), START + LIFETIME));
	for (int i = 0; i < 2; i++) {
		CHECK_OK(
		    kms_nonces_issue(text, n, START + LIFETIME + 1)); /* with the numbers of second START */
		CHECK_STATUS(KMS_ERR_POP_NONCE,
			     kms_nonces_consume(n, kms_text_of(used, sizeof(used)), START));
		CHECK_STATUS(KMS_ERR_POP_NONCE,
			     kms_nonces_consume(n, kms_text_of(first, sizeof(first)), START));
		CHECK_OK(kms_nonces_consume(n, kms_text_of(text, sizeof(text)), START + LIFETIME + 1));
		CHECK_STATUS(KMS_ERR_POP_NONCE_USED,
			     kms_nonces_consume(n, kms_text_of(text, sizeof(text)), START));
	}
	CHECK_STATUS(KMS_ERR_NONCES_OUT, kms_nonces_issue(text, n, START + LIFETIME + 1));
	CHECK_OK(kms_nonces_issue(text, n, START + LIFETIME + 2));
	kms_nonces_free(n);
}

typedef struct race {
	kms_nonces *nonces;
	char (*texts)[KMS_NONCE_TEXT];
	int consumed; /* by this thread */
	bool broken;
} race;

static void *consume_all(void *context)
{
	race *r = context;
	char own[KMS_NONCE_TEXT];
	for (int i = 0; i < SHARED; i++) {
		if (kms_nonces_consume(r->nonces, kms_text_of(r->texts[i], KMS_NONCE_TEXT), START) == KMS_OK)
			r->consumed++;
		if (kms_nonces_issue(own, r->nonces, START) != KMS_OK) r->broken = true;
		if (kms_nonces_consume(r->nonces, kms_text_of(own, KMS_NONCE_TEXT), START) != KMS_OK)
			r->broken = true;
	}
	return NULL;
}

TEST(is_consumed_once_by_all_threads_together)
{
	static char texts[SHARED][KMS_NONCE_TEXT];
	race races[THREADS] = { 0 };
	pthread_t threads[THREADS];
	kms_nonces *n;
	int consumed = 0;
	CHECK_OK(kms_nonces_new(&n, LIFETIME));
	for (int i = 0; i < SHARED; i++)
		CHECK_OK(kms_nonces_issue(texts[i], n, START));
	for (int i = 0; i < THREADS; i++) {
		races[i] = (race){ .nonces = n, .texts = texts };
		CHECK(pthread_create(&threads[i], NULL, consume_all, &races[i]) == 0);
	}
	for (int i = 0; i < THREADS; i++) {
		CHECK(pthread_join(threads[i], NULL) == 0);
		CHECK(!races[i].broken);
		consumed += races[i].consumed;
	}
	CHECK(consumed == SHARED);
	CHECK(kms_nonces_out(n, START) == SHARED * (THREADS + 1));
	kms_nonces_free(n);
}

TEST(survives_failing_allocations)
{
	for (unsigned long fail = 1;; fail++) {
		kms_nonces *n = (kms_nonces *)1;
		kms_mem_fail_after(fail);
		kms_status status = kms_nonces_new(&n, LIFETIME);
		kms_mem_fail_after(0);
		if (status == KMS_OK) {
			kms_nonces_free(n);
			CHECK(fail > 3);
			return;
		}
		CHECK(kms_status_category(status) == KMS_CATEGORY_BUSY || status == KMS_ERR_CRYPTO);
		CHECK(!n && fail < 1000);
	}
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(is_valid_exactly_once), T(lives_for_its_lifetime_and_not_a_second_more),
	  T(counts_what_was_issued_in_each_second), T(refuses_aliases_and_foreign_texts),
	  T(refuses_every_change_of_a_bit), T(checks_its_arguments), T(stops_at_the_size_of_the_ring),
	  T(is_consumed_once_by_all_threads_together), T(survives_failing_allocations))
