/* Contract ABI: calls, and decoding of well-formed data. test_abi_malformed.c has the rest. */
#include "base/testing.h"
#include "abi_kit.h"

/* ---- calls ---------------------------------------------------------------------------------------- */

/* Known ERC-20 selectors, and the example of the Solidity ABI specification. */
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

/* ---- returned data -------------------------------------------------------------------------------- */

TEST(an_app)
{
	response a = app_response();
	kms_abi_app app;
	CHECK_OK(kms_abi_decode_app(&app, span_of(&a)));
	CHECK(app.id == 7 && app.status == 1);
}

TEST(an_app_without_the_appended_field)
{
	response a = { .len = 0 };
	kms_abi_app app;
	put_number(&a, 32);
	put_number(&a, UINT64_MAX);
	put_address(&a, 0);
	put_bytes32(&a, 0);
	put_address(&a, 0);
	put_number(&a, 8 * WORD);
	memset(put_number(&a, 0), 0xff, WORD); /* unused, so it may be anything */
	memset(put_number(&a, 0), 0xff, WORD);
	put_number(&a, 255);
	put_text(&a, "");
	CHECK_OK(kms_abi_decode_app(&app, span_of(&a)));
	CHECK(app.id == UINT64_MAX && app.status == 255);
}

TEST(a_version)
{
	response a = version_response();
	kms_abi_version version;
	CHECK_OK(kms_abi_decode_version(&version, span_of(&a)));
	CHECK(version.id == 5 && version.status == 2);
}

TEST(an_instance)
{
	response a = instance_response();
	kms_abi_instance i;
	uint8_t operator[20], wallet[20];
	memset(operator, 0x77, 20);
	memset(wallet, 0x88, 20);
	CHECK_OK(kms_abi_decode_instance(&i, span_of(&a)));
	CHECK(i.id == 9 && i.app_id == 49 && i.version_id == 1);
	CHECK_MEM(i.operator20, operator, 20);
	CHECK_MEM(i.wallet20, wallet, 20);
	CHECK(i.url.len == 20);
	CHECK_MEM(i.url.text, "https://node.example", 20);
	CHECK(i.tee_pubkey.len == 97 && i.tee_pubkey.text[0] == 4);
	CHECK(i.zk_verified && i.status == 0 && i.registered_at_s == 1700000001);
}

TEST(an_anchor)
{
	response a = anchor_response();
	kms_abi_anchor anchor;
	uint8_t manifest[32], member[20];
	memset(manifest, 0x99, 32);
	memset(member, 0xaa, 20);
	CHECK_OK(kms_abi_decode_anchor(&anchor, span_of(&a)));
	CHECK(anchor.time_s == 1700000002);
	CHECK_MEM(anchor.manifest32, manifest, 32);
	CHECK_MEM(anchor.member20, member, 20);
	put_number(&a, UINT64_MAX); /* appended by newer contracts */
	CHECK_OK(kms_abi_decode_anchor(&anchor, span_of(&a)));
	response none = { .len = 0 };
	put_number(&none, 0);
	put_number(&none, 0);
	put_number(&none, 0);
	CHECK_OK(kms_abi_decode_anchor(&anchor, span_of(&none)));
	CHECK(anchor.time_s == 0);
}

TEST(texts_of_an_instance_owner_are_never_errors)
{
	static char long_url[KMS_ABI_MAX_URL + 1];
	static struct {
		uint8_t bytes[4096];
		size_t len;
	} big;
	kms_abi_instance i;
	memset(long_url, 'a', sizeof(long_url));
	response bad = instance_with("\xff\xfe", 2, 97);
	CHECK_OK(kms_abi_decode_instance(&i, span_of(&bad)));
	CHECK(i.url.len == 0 && i.tee_pubkey.len == 97);
	response longest = instance_with("u", 1, KMS_ABI_MAX_KEY);
	CHECK_OK(kms_abi_decode_instance(&i, span_of(&longest)));
	CHECK(i.tee_pubkey.len == KMS_ABI_MAX_KEY);
	response longer = instance_with("u", 1, KMS_ABI_MAX_KEY + 1);
	CHECK_OK(kms_abi_decode_instance(&i, span_of(&longer)));
	CHECK(i.url.len == 1 && i.tee_pubkey.len == 0);
	for (size_t len = KMS_ABI_MAX_URL; len <= KMS_ABI_MAX_URL + 1; len++) {
		response head = instance_with("", 0, 0);
		big.len = 11 * WORD;
		memcpy(big.bytes, head.bytes, big.len);
		kms_abi_word_number(big.bytes + (size_t)I_KEY * WORD, 10 * WORD);
		kms_abi_word_number(big.bytes + big.len, len);
		memcpy(big.bytes + big.len + WORD, long_url, len);
		big.len += WORD + (len + 31) / 32 * 32;
		CHECK_OK(kms_abi_decode_instance(&i, kms_span_of(big.bytes, big.len)));
		CHECK(i.url.len == (len <= KMS_ABI_MAX_URL ? len : 0));
	}
}

TEST(lists)
{
	response a = list_response();
	kms_abi_list list;
	CHECK_OK(kms_abi_decode_addresses(&list, span_of(&a)));
	CHECK(list.count == 3 && kms_abi_list_address20(&list, 2)[0] == 0xa3);
	CHECK_STATUS(KMS_ERR_ABI, kms_abi_decode_numbers(&list, span_of(&a)));
	CHECK(list.count == 0 && !list.words);
	response numbers = { .len = 0 };
	put_number(&numbers, 32);
	put_number(&numbers, 2);
	put_number(&numbers, 1);
	put_number(&numbers, UINT64_MAX);
	CHECK_OK(kms_abi_decode_numbers(&list, span_of(&numbers)));
	CHECK(list.count == 2 && kms_abi_list_number(&list, 1) == UINT64_MAX);
	kms_abi_word_number(numbers.bytes + WORD, 0);
	CHECK_OK(kms_abi_decode_numbers(&list, kms_span_of(numbers.bytes, 2 * WORD)));
	CHECK(list.count == 0);
	kms_abi_word_number(numbers.bytes + WORD, 3); /* one more than the data has */
	CHECK_STATUS(KMS_ERR_ABI, kms_abi_decode_numbers(&list, span_of(&numbers)));
}

TEST(one_word)
{
	uint8_t data[2 * WORD] = { 0 }, bytes[32];
	uint64_t number;
	bool truth;
	data[WORD - 1] = 1;
	CHECK_OK(kms_abi_decode_number(&number, kms_span_of(data, WORD)));
	CHECK(number == 1);
	CHECK_OK(kms_abi_decode_bool(&truth, kms_span_of(data, WORD)));
	CHECK(truth);
	CHECK_OK(kms_abi_decode_address(bytes, kms_span_of(data, WORD)));
	CHECK(bytes[19] == 1 && bytes[0] == 0);
	CHECK_OK(kms_abi_decode_bytes32(bytes, kms_span_of(data, WORD)));
	CHECK(bytes[31] == 1);
	data[WORD - 1] = 2;
	CHECK_STATUS(KMS_ERR_ABI, kms_abi_decode_bool(&truth, kms_span_of(data, WORD)));
	data[WORD - 21] = 1;
	CHECK_STATUS(KMS_ERR_ABI, kms_abi_decode_address(bytes, kms_span_of(data, WORD)));
	CHECK(bytes[19] == 0);
	CHECK_STATUS(KMS_ERR_ABI, kms_abi_decode_number(&number, kms_span_of(data, WORD)));
	CHECK(number == 0);
	/* Nothing (no contract at the address), a byte short of a word, one too long, two words. */
	static const size_t lengths[] = { 0, 31, 33, 64 };
	for (size_t i = 0; i < 4; i++) {
		CHECK_STATUS(KMS_ERR_ABI, kms_abi_decode_bytes32(bytes, kms_span_of(data, lengths[i])));
		CHECK_STATUS(KMS_ERR_ABI, kms_abi_decode_number(&number, kms_span_of(data, lengths[i])));
		CHECK_STATUS(KMS_ERR_ABI, kms_abi_decode_bool(&truth, kms_span_of(data, lengths[i])));
		CHECK_STATUS(KMS_ERR_ABI, kms_abi_decode_address(bytes, kms_span_of(data, lengths[i])));
	}
	CHECK_STATUS(KMS_ERR_ABI, kms_abi_decode_bytes32(bytes, kms_span_of(NULL, 0)));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_abi_decode_bytes32(bytes, kms_span_of(NULL, WORD)));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_abi_decode_bytes32(NULL, kms_span_of(data, WORD)));
}

TEST(arguments)
{
	response a = list_response();
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_abi_decode_app(NULL, span_of(&a)));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_abi_decode_version(NULL, span_of(&a)));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_abi_decode_instance(NULL, span_of(&a)));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_abi_decode_addresses(NULL, span_of(&a)));
	kms_abi_app app;
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_abi_decode_app(&app, kms_span_of(NULL, 320)));
	CHECK_STATUS(KMS_ERR_ABI, kms_abi_decode_app(&app, kms_span_of(NULL, 0)));
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(selectors), T(calls), T(calls_that_do_not_fit_append_nothing), T(an_app),
	  T(an_app_without_the_appended_field), T(a_version), T(an_instance), T(an_anchor),
	  T(texts_of_an_instance_owner_are_never_errors), T(lists), T(one_word), T(arguments))
