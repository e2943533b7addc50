/* Contract ABI: calls, strict decoding, and answers that are changed at every byte. */
#include "base/mem.h"
#include "kms/abi.h"
#include "kms/codec.h"
#include "test.h"

#define WORD KMS_ABI_WORD
#define MAX_WORDS 64

/* An answer under construction: words, the last of them written by put_*. */
typedef struct answer {
	uint8_t bytes[MAX_WORDS * WORD];
	size_t len;
} answer;

static uint8_t *put_number(answer *a, uint64_t number)
{
	uint8_t *word = a->bytes + a->len;
	kms_abi_word_number(word, number);
	a->len += WORD;
	return word;
}

static void put_address(answer *a, uint8_t byte)
{
	uint8_t address[20];
	memset(address, byte, sizeof(address));
	kms_abi_word_address(a->bytes + a->len, address);
	a->len += WORD;
}

static void put_bytes32(answer *a, uint8_t byte)
{
	memset(a->bytes + a->len, byte, WORD);
	a->len += WORD;
}

static void put_bytes(answer *a, const char *bytes, size_t len)
{
	put_number(a, len);
	memset(a->bytes + a->len, 0, (len + 31) / 32 * 32);
	memcpy(a->bytes + a->len, bytes, len);
	a->len += (len + 31) / 32 * 32;
}

static void put_text(answer *a, const char *text)
{
	put_bytes(a, text, strlen(text));
}

/* A byte string on the heap, exactly as long as it is: a sanitizer sees one byte too many. */
static uint8_t *exact(const uint8_t *bytes, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);
	if (!copy) exit(2);
	if (len) memcpy(copy, bytes, len);
	return copy;
}

static answer app_answer(void)
{
	answer a = { .len = 0 };
	put_number(&a, 32);
	put_number(&a, 7);
	put_address(&a, 0x11);
	put_bytes32(&a, 0x22);
	put_address(&a, 0x33);
	put_number(&a, 9 * WORD);
	put_number(&a, 3);
	put_number(&a, 1700000000);
	put_number(&a, 1);
	put_address(&a, 0x44); /* appended by newer contracts */
	put_text(&a, "ipfs://app");
	return a;
}

static answer version_answer(void)
{
	answer a = { .len = 0 };
	put_number(&a, 32);
	put_number(&a, 5);
	for (int i = 0; i < 6; i++)
		if (i == 1)
			put_bytes32(&a, 0x55);
		else
			put_number(&a, (uint64_t)(10 + 2 * (i ? i - 1 : 0)) * WORD);
	put_number(&a, 2);
	put_number(&a, 1700000000);
	put_address(&a, 0x66);
	put_text(&a, "v1.0.0");
	put_text(&a, "image");
	put_text(&a, "audit");
	put_text(&a, "hash");
	put_text(&a, "42");
	return a;
}

/* Where an instance's words are, outer offset included. */
enum { I_ID = 1, I_APP, I_VERSION, I_OPERATOR, I_URL, I_KEY, I_WALLET, I_ZK, I_STATUS, I_AT, I_URL_LEN };

static answer instance_with(const char *url, size_t url_len, size_t key_len)
{
	static const char key[KMS_ABI_MAX_KEY + 1] = { 4, 1, 2 };
	answer a = { .len = 0 };
	put_number(&a, 32);
	put_number(&a, 9);
	put_number(&a, 49);
	put_number(&a, 1);
	put_address(&a, 0x77);
	put_number(&a, 10 * WORD);
	put_number(&a, (11 + (url_len + 31) / 32) * WORD);
	put_address(&a, 0x88);
	put_number(&a, 1);
	put_number(&a, 0);
	put_number(&a, 1700000001);
	put_bytes(&a, url, url_len);
	put_bytes(&a, key, key_len);
	return a;
}

static answer instance_answer(void)
{
	return instance_with("https://node.example", 20, 97);
}

static answer list_answer(void)
{
	answer a = { .len = 0 };
	put_number(&a, 32);
	put_number(&a, 3);
	put_address(&a, 0xa1);
	put_address(&a, 0xa2);
	put_address(&a, 0xa3);
	return a;
}

static kms_status app_status(const answer *a)
{
	kms_abi_app app;
	return kms_abi_decode_app(&app, a->bytes, a->len);
}

static kms_status instance_status(const answer *a)
{
	kms_abi_instance instance;
	return kms_abi_decode_instance(&instance, a->bytes, a->len);
}

/* ---- calls ------------------------------------------------------------------------------------ */

/* The ERC-20 selectors every explorer shows, and the example of the Solidity ABI specification. */
TEST(selectors)
{
	static const struct {
		const char *signature;
		uint8_t selector[4];
	} cases[] = {
		{ "transfer(address,uint256)", { 0xa9, 0x05, 0x9c, 0xbb } },
		{ "balanceOf(address)", { 0x70, 0xa0, 0x82, 0x31 } },
		{ "baz(uint32,bool)", { 0xcd, 0xcd, 0x77, 0xc0 } },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t selector[4];
		kms_abi_selector(selector, cases[i].signature);
		CHECK_MEM(selector, cases[i].selector, 4);
	}
}

TEST(calls)
{
	uint8_t words[2][WORD], address[20];
	kms_buf out = kms_buf_make(KMS_BUF_PLAIN, 1000);
	memset(address, 0xab, sizeof(address));
	kms_abi_word_number(words[0], UINT64_MAX);
	kms_abi_word_address(words[1], address);
	CHECK_OK(kms_abi_encode(&out, kms_abi_find("getVersion"), (const uint8_t(*)[WORD])words));
	CHECK(out.len == 68);
	CHECK_MEM(out.data + 4, words, 64);
	CHECK(out.data[4] == 0 && out.data[27] == 0 && out.data[28] == 0xff && out.data[35] == 0xff);
	CHECK(out.data[36] == 0 && out.data[47] == 0 && out.data[48] == 0xab && out.data[67] == 0xab);
	kms_buf_clear(&out);
	CHECK_OK(kms_abi_encode(&out, kms_abi_find("masterSecretHash"), NULL));
	CHECK(out.len == 4);
	kms_buf_free(&out);
	CHECK(kms_abi_find("nothing") == NULL && kms_abi_find("") == NULL && kms_abi_find(NULL) == NULL);
}

TEST(calls_that_do_not_fit_append_nothing)
{
	uint8_t word[1][WORD] = { { 0 } };
	kms_buf out = kms_buf_make(KMS_BUF_PLAIN, 35);
	CHECK_STATUS(KMS_ERR_TOO_LARGE,
		     kms_abi_encode(&out, kms_abi_find("getApp"), (const uint8_t(*)[WORD])word));
	CHECK(out.len == 0);
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_abi_encode(&out, kms_abi_find("getApp"), NULL));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_abi_encode(&out, NULL, NULL));
	out.max = 36;
	kms_mem_fail_after(1);
	CHECK_STATUS(KMS_ERR_MEMORY,
		     kms_abi_encode(&out, kms_abi_find("getApp"), (const uint8_t(*)[WORD])word));
	kms_mem_fail_after(0);
	CHECK_OK(kms_abi_encode(&out, kms_abi_find("getApp"), (const uint8_t(*)[WORD])word));
	kms_buf_free(&out);
}

/* ---- well-formed answers ------------------------------------------------------------------------- */

TEST(an_app)
{
	answer a = app_answer();
	kms_abi_app app;
	CHECK_OK(kms_abi_decode_app(&app, a.bytes, a.len));
	CHECK(app.id == 7 && app.status == 1);
}

TEST(an_app_without_the_appended_field)
{
	answer a = { .len = 0 };
	kms_abi_app app;
	put_number(&a, 32);
	put_number(&a, UINT64_MAX);
	put_address(&a, 0);
	put_bytes32(&a, 0);
	put_address(&a, 0);
	put_number(&a, 8 * WORD);
	memset(put_number(&a, 0), 0xff, WORD); /* nobody uses it, so it may be anything */
	memset(put_number(&a, 0), 0xff, WORD);
	put_number(&a, 255);
	put_text(&a, "");
	CHECK_OK(kms_abi_decode_app(&app, a.bytes, a.len));
	CHECK(app.id == UINT64_MAX && app.status == 255);
}

TEST(a_version)
{
	answer a = version_answer();
	kms_abi_version version;
	CHECK_OK(kms_abi_decode_version(&version, a.bytes, a.len));
	CHECK(version.id == 5 && version.status == 2);
}

TEST(an_instance)
{
	answer a = instance_answer();
	kms_abi_instance i;
	uint8_t operator[20], wallet[20];
	memset(operator, 0x77, 20);
	memset(wallet, 0x88, 20);
	CHECK_OK(kms_abi_decode_instance(&i, a.bytes, a.len));
	CHECK(i.id == 9 && i.app_id == 49 && i.version_id == 1);
	CHECK_MEM(i.operator20, operator, 20);
	CHECK_MEM(i.wallet20, wallet, 20);
	CHECK(i.url.len == 20);
	CHECK_MEM(i.url.text, "https://node.example", 20);
	CHECK(i.tee_pubkey.len == 97 && i.tee_pubkey.text[0] == 4);
	CHECK(i.zk_verified && i.status == 0 && i.registered_at_s == 1700000001);
}

TEST(what_an_instance_owner_chooses_is_no_error)
{
	static char long_url[KMS_ABI_MAX_URL + 1];
	static struct {
		uint8_t bytes[4096];
		size_t len;
	} big;
	kms_abi_instance i;
	memset(long_url, 'a', sizeof(long_url));
	answer bad = instance_with("\xff\xfe", 2, 97);
	CHECK_OK(kms_abi_decode_instance(&i, bad.bytes, bad.len));
	CHECK(i.url.len == 0 && i.tee_pubkey.len == 97);
	answer longest = instance_with("u", 1, KMS_ABI_MAX_KEY);
	CHECK_OK(kms_abi_decode_instance(&i, longest.bytes, longest.len));
	CHECK(i.tee_pubkey.len == KMS_ABI_MAX_KEY);
	answer longer = instance_with("u", 1, KMS_ABI_MAX_KEY + 1);
	CHECK_OK(kms_abi_decode_instance(&i, longer.bytes, longer.len));
	CHECK(i.url.len == 1 && i.tee_pubkey.len == 0);
	for (size_t len = KMS_ABI_MAX_URL; len <= KMS_ABI_MAX_URL + 1; len++) {
		answer head = instance_with("", 0, 0);
		big.len = 11 * WORD;
		memcpy(big.bytes, head.bytes, big.len);
		kms_abi_word_number(big.bytes + (size_t)I_KEY * WORD, 10 * WORD);
		kms_abi_word_number(big.bytes + big.len, len);
		memcpy(big.bytes + big.len + WORD, long_url, len);
		big.len += WORD + (len + 31) / 32 * 32;
		CHECK_OK(kms_abi_decode_instance(&i, big.bytes, big.len));
		CHECK(i.url.len == (len <= KMS_ABI_MAX_URL ? len : 0));
	}
}

TEST(lists)
{
	answer a = list_answer();
	kms_abi_list list;
	CHECK_OK(kms_abi_decode_addresses(&list, a.bytes, a.len));
	CHECK(list.count == 3 && kms_abi_list_address20(&list, 2)[0] == 0xa3);
	CHECK_STATUS(KMS_ERR_ABI, kms_abi_decode_numbers(&list, a.bytes, a.len));
	CHECK(list.count == 0 && !list.words);
	answer numbers = { .len = 0 };
	put_number(&numbers, 32);
	put_number(&numbers, 2);
	put_number(&numbers, 1);
	put_number(&numbers, UINT64_MAX);
	CHECK_OK(kms_abi_decode_numbers(&list, numbers.bytes, numbers.len));
	CHECK(list.count == 2 && kms_abi_list_number(&list, 1) == UINT64_MAX);
	kms_abi_word_number(numbers.bytes + WORD, 0);
	CHECK_OK(kms_abi_decode_numbers(&list, numbers.bytes, 2 * WORD));
	CHECK(list.count == 0);
	kms_abi_word_number(numbers.bytes + WORD, 3); /* one more than there is */
	CHECK_STATUS(KMS_ERR_ABI, kms_abi_decode_numbers(&list, numbers.bytes, numbers.len));
}

TEST(one_word)
{
	uint8_t data[2 * WORD] = { 0 }, bytes[32];
	uint64_t number;
	bool truth;
	data[WORD - 1] = 1;
	CHECK_OK(kms_abi_decode_number(&number, data, WORD));
	CHECK(number == 1);
	CHECK_OK(kms_abi_decode_bool(&truth, data, WORD));
	CHECK(truth);
	CHECK_OK(kms_abi_decode_address(bytes, data, WORD));
	CHECK(bytes[19] == 1 && bytes[0] == 0);
	CHECK_OK(kms_abi_decode_bytes32(bytes, data, WORD));
	CHECK(bytes[31] == 1);
	data[WORD - 1] = 2;
	CHECK_STATUS(KMS_ERR_ABI, kms_abi_decode_bool(&truth, data, WORD));
	data[WORD - 21] = 1;
	CHECK_STATUS(KMS_ERR_ABI, kms_abi_decode_address(bytes, data, WORD));
	CHECK(bytes[19] == 0);
	CHECK_STATUS(KMS_ERR_ABI, kms_abi_decode_number(&number, data, WORD));
	CHECK(number == 0);
	/* Nothing (no contract at the address), half a word, two words. */
	static const size_t lengths[] = { 0, 31, 33, 64 };
	for (size_t i = 0; i < 4; i++) {
		CHECK_STATUS(KMS_ERR_ABI, kms_abi_decode_bytes32(bytes, data, lengths[i]));
		CHECK_STATUS(KMS_ERR_ABI, kms_abi_decode_number(&number, data, lengths[i]));
		CHECK_STATUS(KMS_ERR_ABI, kms_abi_decode_bool(&truth, data, lengths[i]));
		CHECK_STATUS(KMS_ERR_ABI, kms_abi_decode_address(bytes, data, lengths[i]));
	}
	CHECK_STATUS(KMS_ERR_ABI, kms_abi_decode_bytes32(bytes, NULL, 0));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_abi_decode_bytes32(bytes, NULL, WORD));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_abi_decode_bytes32(NULL, data, WORD));
}

/* ---- malformed answers ------------------------------------------------------------------------------ */

/* One word of an instance is replaced. */
static void refuse_instance_word(int *failed_, size_t word, size_t byte, uint8_t value)
{
	answer a = instance_answer();
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

TEST(offsets_and_lengths_outside_the_data)
{
	answer good = instance_answer();
	const size_t tuple = good.len - WORD;
	static const size_t offsets[] = { I_URL, I_KEY };
	for (size_t i = 0; i < 2; i++) {
		answer a = good;
		uint8_t *word = a.bytes + offsets[i] * WORD;
		kms_abi_word_number(word, tuple); /* right behind the data */
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
	answer a = good;
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
	answer a = app_answer();
	static const uint64_t bad[] = { 0, 31, 64, 320, 352, 4096, UINT64_MAX };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		kms_abi_word_number(a.bytes, bad[i]);
		CHECK_STATUS(KMS_ERR_ABI, app_status(&a));
	}
	/* A struct that begins later is fine where its own offsets hold. */
	answer moved = { .len = 0 };
	answer app = app_answer();
	put_number(&moved, 64);
	put_number(&moved, 0);
	memcpy(moved.bytes + moved.len, app.bytes + WORD, app.len - WORD);
	moved.len += app.len - WORD;
	CHECK_OK(app_status(&moved));
}

/* Every answer that is cut anywhere. */
static void refuse_shorter(int *failed_, const answer *a, kms_status (*decode)(const uint8_t *, size_t))
{
	CHECK_OK(decode(a->bytes, a->len));
	for (size_t len = 0; len < a->len; len++) {
		uint8_t *cut = exact(a->bytes, len);
		kms_status status = decode(cut, len);
		free(cut);
		CHECK(status == KMS_ERR_ABI);
	}
}

static kms_status decode_app(const uint8_t *data, size_t len)
{
	kms_abi_app app = { 1, 1 };
	kms_status status = kms_abi_decode_app(&app, data, len);
	if (status != KMS_OK && (app.id || app.status)) exit(2);
	return status;
}

static kms_status decode_version(const uint8_t *data, size_t len)
{
	kms_abi_version version = { 1, 1 };
	kms_status status = kms_abi_decode_version(&version, data, len);
	if (status != KMS_OK && (version.id || version.status)) exit(2);
	return status;
}

static unsigned long touched; /* so that no read is optimised away */

static void touch(kms_text text)
{
	for (size_t i = 0; i < text.len; i++)
		touched += (unsigned char)text.text[i];
}

static kms_status decode_instance(const uint8_t *data, size_t len)
{
	static const kms_abi_instance zero;
	kms_abi_instance instance;
	memset(&instance, 0xff, sizeof(instance));
	kms_status status = kms_abi_decode_instance(&instance, data, len);
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

static kms_status decode_addresses(const uint8_t *data, size_t len)
{
	kms_abi_list list;
	kms_status status = kms_abi_decode_addresses(&list, data, len);
	if (status != KMS_OK && (list.words || list.count)) exit(2);
	for (size_t i = 0; i < list.count; i++)
		touch((kms_text){ (const char *)kms_abi_list_address20(&list, i), 20 });
	return status;
}

static kms_status decode_numbers(const uint8_t *data, size_t len)
{
	kms_abi_list list;
	kms_status status = kms_abi_decode_numbers(&list, data, len);
	for (size_t i = 0; i < list.count; i++)
		touched += kms_abi_list_number(&list, i);
	return status;
}

TEST(answers_that_are_cut)
{
	answer app = app_answer(), version = version_answer(), instance = instance_answer(),
	       list = list_answer();
	CALL(refuse_shorter, &app, decode_app);
	CALL(refuse_shorter, &version, decode_version);
	CALL(refuse_shorter, &instance, decode_instance);
	CALL(refuse_shorter, &list, decode_addresses);
}

/* ---- mutations --------------------------------------------------------------------------------------- */

typedef struct target {
	answer seed;
	kms_status (*decode)(const uint8_t *, size_t);
} target;

static uint64_t random_state = 0x9e3779b97f4a7c15u;

static uint64_t random_u64(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

/* Values at which a decoder's arithmetic could go wrong. */
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

static void mutate(answer *a)
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

/* Whatever comes, a decoder reads nothing outside and gives either an error or a bounded value. */
TEST(mutated_answers)
{
	target targets[] = {
		{ app_answer(), decode_app },           { version_answer(), decode_version },
		{ instance_answer(), decode_instance }, { list_answer(), decode_addresses },
		{ list_answer(), decode_numbers },
	};
	size_t accepted = 0, refused = 0;
	for (size_t round = 0; round < 200000; round++) {
		const target *t = &targets[round % 5];
		answer a = t->seed;
		for (uint64_t times = 1 + random_u64() % 3; times && a.len >= WORD; times--)
			mutate(&a);
		uint8_t *bytes = exact(a.bytes, a.len);
		kms_status status = t->decode(bytes, a.len);
		free(bytes);
		CHECK(status == KMS_OK || status == KMS_ERR_ABI);
		if (status == KMS_OK)
			accepted++;
		else
			refused++;
	}
	/* Both happen often, or the loop looks at nothing. */
	CHECK(accepted > 10000 && refused > 10000);
	CHECK(touched != 0);
}

TEST(arguments)
{
	answer a = list_answer();
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_abi_decode_app(NULL, a.bytes, a.len));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_abi_decode_version(NULL, a.bytes, a.len));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_abi_decode_instance(NULL, a.bytes, a.len));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_abi_decode_addresses(NULL, a.bytes, a.len));
	kms_abi_app app;
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_abi_decode_app(&app, NULL, 320));
	CHECK_STATUS(KMS_ERR_ABI, kms_abi_decode_app(&app, NULL, 0));
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(selectors), T(calls), T(calls_that_do_not_fit_append_nothing), T(an_app),
	  T(an_app_without_the_appended_field), T(a_version), T(an_instance),
	  T(what_an_instance_owner_chooses_is_no_error), T(lists), T(one_word),
	  T(padding_and_numbers_that_do_not_fit), T(offsets_and_lengths_outside_the_data),
	  T(the_outer_offset), T(answers_that_are_cut), T(mutated_answers), T(arguments))
