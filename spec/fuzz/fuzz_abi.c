/* Data that contract calls return: lists and texts lie inside it, and words are written as they were read. */
#include "abi_kit.h"
#include "kms/codec.h"
#include "lib/fuzz.h"

const unsigned fuzz_kinds = 7;

static void check_list(const kms_abi_list *list, kms_span data, bool numbers)
{
	fuzz_accept(numbers);
	HOLDS(list->count <= data.len / WORD);
	HOLDS(fuzz_within(kms_span_of(list->words, list->count * WORD), data));
	for (size_t i = 0; i < list->count; i++) {
		uint8_t word[WORD];
		if (numbers)
			kms_abi_word_number(word, kms_abi_list_number(list, i));
		else
			kms_abi_word_address(word, kms_abi_list_address20(list, i));
		HOLDS(memcmp(word, list->words + i * WORD, WORD) == 0);
	}
}

static void check_structs(kms_span data)
{
	kms_abi_app app;
	kms_abi_version version;
	kms_abi_instance instance;
	if (kms_abi_decode_app(&app, data) != KMS_OK) HOLDS(app.id == 0 && app.status == 0);
	if (app.id) fuzz_accept(2);
	if (kms_abi_decode_version(&version, data) != KMS_OK) HOLDS(version.id == 0 && version.status == 0);
	if (version.id) fuzz_accept(3);
	if (kms_abi_decode_instance(&instance, data) != KMS_OK) {
		HOLDS(instance.id == 0 && !instance.url.text && !instance.tee_pubkey.text);
		return;
	}
	fuzz_accept(4);
	HOLDS(instance.url.len <= KMS_ABI_MAX_URL && instance.tee_pubkey.len <= KMS_ABI_MAX_KEY);
	HOLDS(fuzz_within(kms_text_span(instance.url), data) && kms_utf8_valid(instance.url));
	HOLDS(fuzz_within(kms_text_span(instance.tee_pubkey), data));
}

static void check_words(kms_span data)
{
	uint64_t number;
	uint8_t address20[20], bytes32[32], word[WORD];
	bool truth;
	if (kms_abi_decode_number(&number, data) == KMS_OK) {
		kms_abi_word_number(word, number);
		HOLDS(memcmp(word, data.bytes, WORD) == 0);
	}
	if (kms_abi_decode_address(address20, data) == KMS_OK) {
		kms_abi_word_address(word, address20);
		HOLDS(memcmp(word, data.bytes, WORD) == 0);
	}
	if (kms_abi_decode_bytes32(bytes32, data) == KMS_OK) HOLDS(memcmp(bytes32, data.bytes, WORD) == 0);
	if (kms_abi_decode_bool(&truth, data) == KMS_OK) {
		fuzz_accept(5);
		HOLDS(data.bytes[WORD - 1] == (truth ? 1 : 0));
	}
}

static void check_anchor(kms_span data)
{
	uint8_t word[WORD];
	kms_abi_anchor anchor;
	if (kms_abi_decode_anchor(&anchor, data) != KMS_OK) {
		HOLDS(anchor.time_s == 0);
		return;
	}
	fuzz_accept(6);
	HOLDS(memcmp(anchor.manifest32, data.bytes, WORD) == 0);
	kms_abi_word_number(word, anchor.time_s);
	HOLDS(memcmp(word, data.bytes + WORD, WORD) == 0);
	kms_abi_word_address(word, anchor.member20);
	HOLDS(memcmp(word, data.bytes + (size_t)2 * WORD, WORD) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	kms_abi_list list;
	kms_span span = kms_span_of(data, size);
	if (kms_abi_decode_addresses(&list, span) == KMS_OK && list.count) check_list(&list, span, false);
	if (kms_abi_decode_numbers(&list, span) == KMS_OK && list.count) check_list(&list, span, true);
	check_structs(span);
	check_words(span);
	check_anchor(span);
	return 0;
}

static void seed(response r)
{
	fuzz_seed(span_of(&r));
}

void fuzz_seeds(void)
{
	response numbers = { .len = 0 }, word = { .len = 0 };
	seed(app_response());
	seed(version_response());
	seed(instance_response());
	seed(list_response());
	seed(anchor_response());
	put_number(&numbers, 32);
	put_number(&numbers, 2);
	put_number(&numbers, 1);
	put_number(&numbers, UINT64_MAX);
	seed(numbers);
	put_number(&word, 1);
	seed(word);
	FUZZ_SEED("");
}
