/* Contract ABI: malformed data must be refused, whatever byte is wrong, and however it is cut. */
#include "abi_kit.h"

/* A copy in a block of the exact size, so that a sanitizer sees a read beyond the end. */
static uint8_t *exact(const uint8_t *bytes, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);
	if (!copy) exit(2);
	if (len) memcpy(copy, bytes, len);
	return copy;
}

static kms_status app_status(const response *a)
{
	kms_abi_app app;
	return kms_abi_decode_app(&app, span_of(a));
}

static kms_status instance_status(const response *a)
{
	kms_abi_instance instance;
	return kms_abi_decode_instance(&instance, span_of(a));
}

/* An instance with one byte of a word replaced is refused. */
static void refuse_instance_word(int *failed_, size_t word, size_t byte, uint8_t value)
{
	response a = instance_response();
	CHECK_OK(instance_status(&a));
	a.bytes[word * WORD + byte] = value;
	CHECK_STATUS(KMS_ERR_ABI, instance_status(&a));
}

TEST(padding_and_numbers_that_do_not_fit)
{
	static const size_t numbers[] = { I_ID, I_APP, I_VERSION, I_AT };
	for (size_t i = 0; i < 4; i++) {
		CALL(refuse_instance_word, numbers[i], 0, 1);
		CALL(refuse_instance_word, numbers[i], 23, 1);
	}
	CALL(refuse_instance_word, I_AT, 24, 0x80); /* 2^63 seconds */
	CALL(refuse_instance_word, I_OPERATOR, 11, 1);
	CALL(refuse_instance_word, I_OPERATOR, 0, 1);
	CALL(refuse_instance_word, I_WALLET, 11, 1);
	CALL(refuse_instance_word, I_ZK, 31, 2);
	CALL(refuse_instance_word, I_ZK, 0, 1);
	CALL(refuse_instance_word, I_STATUS, 30, 1);
	CALL(refuse_instance_word, I_STATUS, 0, 1);
}

TEST(anchors_that_are_cut_or_do_not_fit)
{
	kms_abi_anchor anchor;
	response good = anchor_response();
	for (size_t len = 0; len < good.len; len++) {
		uint8_t *copy = exact(good.bytes, len);
		CHECK_STATUS(KMS_ERR_ABI, kms_abi_decode_anchor(&anchor, kms_span_of(copy, len)));
		CHECK(anchor.time_s == 0);
		free(copy);
	}
	static const size_t padding[] = { WORD, WORD + 23, (size_t)2 * WORD, (size_t)2 * WORD + 11 };
	for (size_t i = 0; i < sizeof(padding) / sizeof(padding[0]); i++) {
		response a = good;
		a.bytes[padding[i]] = 1;
		CHECK_STATUS(KMS_ERR_ABI, kms_abi_decode_anchor(&anchor, span_of(&a)));
	}
	response a = good;
	kms_abi_word_number(a.bytes + WORD, INT64_MAX / 1000);
	CHECK_OK(kms_abi_decode_anchor(&anchor, span_of(&a)));
	kms_abi_word_number(a.bytes + WORD, INT64_MAX / 1000 + 1);
	CHECK_STATUS(KMS_ERR_ABI, kms_abi_decode_anchor(&anchor, span_of(&a)));
	a.len += 1;
	CHECK_STATUS(KMS_ERR_ABI, kms_abi_decode_anchor(&anchor, span_of(&a)));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_abi_decode_anchor(NULL, span_of(&good)));
}

TEST(offsets_and_lengths_outside_the_data)
{
	response good = instance_response();
	const size_t tuple = good.len - WORD;
	static const size_t offsets[] = { I_URL, I_KEY };
	for (size_t i = 0; i < 2; i++) {
		response a = good;
		uint8_t *word = a.bytes + offsets[i] * WORD;
		kms_abi_word_number(word, tuple); /* directly after the data */
		CHECK_STATUS(KMS_ERR_ABI, instance_status(&a));
		kms_abi_word_number(word, tuple + WORD);
		CHECK_STATUS(KMS_ERR_ABI, instance_status(&a));
		kms_abi_word_number(word, tuple - 31); /* no room for the length */
		CHECK_STATUS(KMS_ERR_ABI, instance_status(&a));
		kms_abi_word_number(word, 9 * WORD); /* into the struct's own words */
		CHECK_STATUS(KMS_ERR_ABI, instance_status(&a));
		kms_abi_word_number(word, UINT64_MAX);
		CHECK_STATUS(KMS_ERR_ABI, instance_status(&a));
		kms_abi_word_number(word, UINT64_MAX - 31);
		CHECK_STATUS(KMS_ERR_ABI, instance_status(&a));
	}
	response a = good;
	kms_abi_word_number(a.bytes + (size_t)I_URL_LEN * WORD, UINT64_MAX);
	CHECK_STATUS(KMS_ERR_ABI, instance_status(&a));
	/* The key is last: 97 bytes in four words, so 128 fit and 129 do not. */
	uint8_t *key_len = a.bytes + a.len - 5 * (size_t)WORD;
	a = good;
	kms_abi_word_number(key_len, 128);
	CHECK_OK(instance_status(&a));
	kms_abi_word_number(key_len, 129);
	CHECK_STATUS(KMS_ERR_ABI, instance_status(&a));
}

TEST(the_outer_offset)
{
	response a = app_response();
	static const uint64_t bad[] = { 0, 31, 64, 320, 352, 4096, UINT64_MAX };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		kms_abi_word_number(a.bytes, bad[i]);
		CHECK_STATUS(KMS_ERR_ABI, app_status(&a));
	}
	/* A struct may start later, if its own offsets are right. */
	response moved = { .len = 0 };
	response app = app_response();
	put_number(&moved, 64);
	put_number(&moved, 0);
	memcpy(moved.bytes + moved.len, app.bytes + WORD, app.len - WORD);
	moved.len += app.len - WORD;
	CHECK_OK(app_status(&moved));
}

/* Data cut at any length is refused. */
static void refuse_shorter(int *failed_, const response *a, kms_status (*decode)(kms_span data))
{
	CHECK_OK(decode(span_of(a)));
	for (size_t len = 0; len < a->len; len++) {
		uint8_t *cut = exact(a->bytes, len);
		kms_status status = decode(kms_span_of(cut, len));
		free(cut);
		CHECK(status == KMS_ERR_ABI);
	}
}

static kms_status decode_app(kms_span data)
{
	kms_abi_app app = { 1, 1 };
	kms_status status = kms_abi_decode_app(&app, data);
	if (status != KMS_OK && (app.id || app.status)) exit(2);
	return status;
}

static kms_status decode_version(kms_span data)
{
	kms_abi_version version = { 1, 1 };
	kms_status status = kms_abi_decode_version(&version, data);
	if (status != KMS_OK && (version.id || version.status)) exit(2);
	return status;
}

static unsigned long touched; /* so that the compiler keeps every read */

static void touch(kms_text text)
{
	for (size_t i = 0; i < text.len; i++)
		touched += (unsigned char)text.text[i];
}

static kms_status decode_instance(kms_span data)
{
	static const kms_abi_instance zero;
	kms_abi_instance instance;
	memset(&instance, 0xff, sizeof(instance));
	kms_status status = kms_abi_decode_instance(&instance, data);
	if (status != KMS_OK) {
		if (instance.id || instance.url.text || instance.zk_verified ||
		    memcmp(instance.wallet20, zero.wallet20, 20) != 0)
			exit(2);
		return status;
	}
	if (instance.url.len > KMS_ABI_MAX_URL || instance.tee_pubkey.len > KMS_ABI_MAX_KEY) exit(2);
	touch(instance.url);
	touch(instance.tee_pubkey);
	return status;
}

static kms_status decode_addresses(kms_span data)
{
	kms_abi_list list;
	kms_status status = kms_abi_decode_addresses(&list, data);
	if (status != KMS_OK && (list.words || list.count)) exit(2);
	for (size_t i = 0; i < list.count; i++)
		touch((kms_text){ (const char *)kms_abi_list_address20(&list, i), 20 });
	return status;
}

static kms_status decode_numbers(kms_span data)
{
	kms_abi_list list;
	kms_status status = kms_abi_decode_numbers(&list, data);
	for (size_t i = 0; i < list.count; i++)
		touched += kms_abi_list_number(&list, i);
	return status;
}

TEST(cut_responses_are_refused)
{
	response app = app_response(), version = version_response(), instance = instance_response(),
		 list = list_response();
	CALL(refuse_shorter, &app, decode_app);
	CALL(refuse_shorter, &version, decode_version);
	CALL(refuse_shorter, &instance, decode_instance);
	CALL(refuse_shorter, &list, decode_addresses);
}

/* ---- mutations ------------------------------------------------------------------------------------ */

typedef struct target {
	response seed;
	kms_status (*decode)(kms_span data);
} target;

static uint64_t random_state = 0x9e3779b97f4a7c15u;

static uint64_t random_u64(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

/* Values at the edges of a decoder's arithmetic. */
static uint64_t interesting(size_t len)
{
	static const uint64_t fixed[] = { 0,
					  1,
					  31,
					  32,
					  33,
					  64,
					  UINT64_MAX,
					  UINT64_MAX - 31,
					  UINT64_MAX - 63,
					  (uint64_t)1 << 63,
					  (uint64_t)1 << 32,
					  UINT32_MAX };
	uint64_t pick = random_u64() % 16;
	if (pick < 12) return fixed[pick];
	return len + 64 - random_u64() % 128;
}

static void mutate(response *a)
{
	size_t words = a->len / WORD;
	switch (random_u64() % 5) {
	case 0:
		a->bytes[random_u64() % a->len] ^= (uint8_t)(1u << random_u64() % 8);
		break;
	case 1:
		kms_abi_word_number(a->bytes + random_u64() % words * WORD, interesting(a->len));
		break;
	case 2:
		memset(a->bytes + random_u64() % words * WORD, 0xff, WORD);
		break;
	case 3:
		a->len = random_u64() % 4 ? random_u64() % words * WORD : random_u64() % a->len;
		break;
	default:
		memmove(a->bytes + random_u64() % words * WORD, a->bytes + random_u64() % words * WORD, WORD);
	}
}

/* A decoder reads nothing outside the data, and gives an error or a bounded value. */
TEST(mutated_responses_do_no_harm)
{
	target targets[] = {
		{ app_response(), decode_app },           { version_response(), decode_version },
		{ instance_response(), decode_instance }, { list_response(), decode_addresses },
		{ list_response(), decode_numbers },
	};
	size_t accepted = 0, refused = 0;
	for (size_t round = 0; round < 200000; round++) {
		const target *t = &targets[round % 5];
		response a = t->seed;
		for (uint64_t times = 1 + random_u64() % 3; times && a.len >= WORD; times--)
			mutate(&a);
		uint8_t *bytes = exact(a.bytes, a.len);
		kms_status status = t->decode(kms_span_of(bytes, a.len));
		free(bytes);
		CHECK(status == KMS_OK || status == KMS_ERR_ABI);
		if (status == KMS_OK)
			accepted++;
		else
			refused++;
	}
	/* Both must happen often, or the loop tests nothing. */
	CHECK(accepted > 10000 && refused > 10000);
	CHECK(touched != 0);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(padding_and_numbers_that_do_not_fit),
	  T(anchors_that_are_cut_or_do_not_fit), T(offsets_and_lengths_outside_the_data), T(the_outer_offset),
	  T(cut_responses_are_refused), T(mutated_responses_do_no_harm))
