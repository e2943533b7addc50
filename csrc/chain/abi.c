/* Contract ABI: decoding of returned data (kms/abi.h). */
#include "kms/abi.h"

#include <string.h>

#include "base/bits.h"
#include "base/ensure.h"
#include "kms/codec.h"

/* The words known of each struct; a newer contract may have more. */
enum { APP_WORDS = 8, VERSION_WORDS = 10, INSTANCE_WORDS = 10, ANCHOR_WORDS = 3 };

/* ---- words ---------------------------------------------------------------------------------- */

static bool is_zero(const uint8_t *bytes, size_t len)
{
	uint8_t any = 0;
	for (size_t i = 0; i < len; i++)
		any |= bytes[i];
	return any == 0;
}

static kms_status read_number(uint64_t *number, const uint8_t *word)
{
	ENSURE(is_zero(word, KMS_ABI_WORD - 8), KMS_ERR_ABI);
	*number = kms_load64_be(word + KMS_ABI_WORD - 8);
	return KMS_OK;
}

static kms_status read_u8(uint8_t *number, const uint8_t *word)
{
	ENSURE(is_zero(word, KMS_ABI_WORD - 1), KMS_ERR_ABI);
	*number = word[KMS_ABI_WORD - 1];
	return KMS_OK;
}

static kms_status read_bool(bool *truth, const uint8_t *word)
{
	uint8_t number;
	GUARD(read_u8(&number, word));
	ENSURE(number <= 1, KMS_ERR_ABI);
	*truth = number == 1;
	return KMS_OK;
}

static kms_status read_address(uint8_t address20[20], const uint8_t *word)
{
	ENSURE(is_zero(word, KMS_ABI_WORD - 20), KMS_ERR_ABI);
	memcpy(address20, word + KMS_ABI_WORD - 20, 20);
	return KMS_OK;
}

/* A number used as an offset, a length or a count. */
static kms_status read_size(size_t *size, const uint8_t *word, size_t max)
{
	uint64_t number;
	GUARD(read_number(&number, word));
	ENSURE(number <= max, KMS_ERR_ABI);
	*size = (size_t)number;
	return KMS_OK;
}

/*
 * ---- parts ----------------------------------------------------------------------------------
 *
 * A part is a span that offsets count from: all the data, or a struct and what follows it.
 */

static const uint8_t *word_of(const kms_span *part, size_t index)
{
	return part->bytes + index * KMS_ABI_WORD;
}

/* The part at the offset in `word`, counted from `from`: after its `fixed` words, with `words` at least. */
static kms_status follow(kms_span *part, const kms_span *from, size_t word, size_t fixed, size_t words)
{
	size_t offset;
	GUARD(read_size(&offset, word_of(from, word), from->len));
	ENSURE(offset >= fixed * KMS_ABI_WORD, KMS_ERR_ABI);
	ENSURE((from->len - offset) / KMS_ABI_WORD >= words, KMS_ERR_ABI);
	*part = kms_span_of(from->bytes + offset, from->len - offset);
	return KMS_OK;
}

/* The struct or list that the data consists of, after the outer offset. */
static kms_status open_data(kms_span *part, kms_span data, size_t words)
{
	ENSURE(data.bytes || data.len == 0, KMS_ERR_ARGUMENT);
	ENSURE(data.len >= KMS_ABI_WORD && data.len % KMS_ABI_WORD == 0, KMS_ERR_ABI);
	return follow(part, &data, 0, 1, words);
}

/*
 * A string or bytes member. Its padding is not checked: contracts copy it from storage, where it
 * may be anything, and nothing uses it.
 */
static kms_status read_bytes(kms_text *bytes, const kms_span *tuple, size_t word, size_t words)
{
	kms_span part;
	size_t len;
	GUARD(follow(&part, tuple, word, words, 1));
	GUARD(read_size(&len, part.bytes, part.len - KMS_ABI_WORD));
	size_t padded = (len + KMS_ABI_WORD - 1) / KMS_ABI_WORD * KMS_ABI_WORD;
	ENSURE(padded <= part.len - KMS_ABI_WORD, KMS_ERR_ABI);
	*bytes = (kms_text){ (const char *)part.bytes + KMS_ABI_WORD, len };
	return KMS_OK;
}

/* Unused members must be well formed too. */
static kms_status skip_bytes(const kms_span *tuple, const uint8_t *members, size_t count, size_t words)
{
	kms_text unused;
	for (size_t i = 0; i < count; i++)
		GUARD(read_bytes(&unused, tuple, members[i], words));
	return KMS_OK;
}

static kms_status skip_address(const kms_span *tuple, size_t word)
{
	uint8_t unused[20];
	return read_address(unused, word_of(tuple, word));
}

/* ---- structs ---------------------------------------------------------------------------------- */

static kms_status decode_app(kms_abi_app *app, kms_span data)
{
	static const uint8_t texts[] = { 4 };
	kms_span tuple;
	GUARD(open_data(&tuple, data, APP_WORDS));
	GUARD(read_number(&app->id, word_of(&tuple, 0)));
	GUARD(skip_address(&tuple, 1));
	GUARD(skip_address(&tuple, 3));
	GUARD(skip_bytes(&tuple, texts, sizeof(texts), APP_WORDS));
	return read_u8(&app->status, word_of(&tuple, 7));
}

kms_status kms_abi_decode_app(kms_abi_app *app, kms_span data)
{
	ENSURE_REF(app);
	*app = (kms_abi_app){ 0 };
	kms_abi_app read = { 0 };
	GUARD(decode_app(&read, data));
	*app = read;
	return KMS_OK;
}

static kms_status decode_version(kms_abi_version *version, kms_span data)
{
	static const uint8_t texts[] = { 1, 3, 4, 5, 6 };
	kms_span tuple;
	GUARD(open_data(&tuple, data, VERSION_WORDS));
	GUARD(read_number(&version->id, word_of(&tuple, 0)));
	GUARD(skip_bytes(&tuple, texts, sizeof(texts), VERSION_WORDS));
	GUARD(read_u8(&version->status, word_of(&tuple, 7)));
	return skip_address(&tuple, 9);
}

kms_status kms_abi_decode_version(kms_abi_version *version, kms_span data)
{
	ENSURE_REF(version);
	*version = (kms_abi_version){ 0 };
	kms_abi_version read = { 0 };
	GUARD(decode_version(&read, data));
	*version = read;
	return KMS_OK;
}

static kms_status decode_instance(kms_abi_instance *instance, kms_span data)
{
	kms_span tuple;
	GUARD(open_data(&tuple, data, INSTANCE_WORDS));
	GUARD(read_number(&instance->id, word_of(&tuple, 0)));
	GUARD(read_number(&instance->app_id, word_of(&tuple, 1)));
	GUARD(read_number(&instance->version_id, word_of(&tuple, 2)));
	GUARD(read_address(instance->operator20, word_of(&tuple, 3)));
	GUARD(read_bytes(&instance->url, &tuple, 4, INSTANCE_WORDS));
	GUARD(read_bytes(&instance->tee_pubkey, &tuple, 5, INSTANCE_WORDS));
	GUARD(read_address(instance->wallet20, word_of(&tuple, 6)));
	GUARD(read_bool(&instance->zk_verified, word_of(&tuple, 7)));
	GUARD(read_u8(&instance->status, word_of(&tuple, 8)));
	GUARD(read_number(&instance->registered_at_s, word_of(&tuple, 9)));
	/* Seconds are signed where they are used. */
	ENSURE(instance->registered_at_s <= INT64_MAX, KMS_ERR_ABI);
	return KMS_OK;
}

static void drop_unusable(kms_text *text, size_t max, bool is_text)
{
	if (text->len <= max && (!is_text || kms_utf8_valid(*text))) return;
	text->len = 0;
}

kms_status kms_abi_decode_instance(kms_abi_instance *instance, kms_span data)
{
	ENSURE_REF(instance);
	*instance = (kms_abi_instance){ 0 };
	kms_abi_instance read = { 0 };
	GUARD(decode_instance(&read, data));
	drop_unusable(&read.url, KMS_ABI_MAX_URL, true);
	drop_unusable(&read.tee_pubkey, KMS_ABI_MAX_KEY, false);
	*instance = read;
	return KMS_OK;
}

/* A struct of words alone comes without an offset; a newer contract may have more. */
static kms_status decode_anchor(kms_abi_anchor *anchor, kms_span data)
{
	ENSURE(data.bytes || data.len == 0, KMS_ERR_ARGUMENT);
	ENSURE(data.len / KMS_ABI_WORD >= ANCHOR_WORDS && data.len % KMS_ABI_WORD == 0, KMS_ERR_ABI);
	memcpy(anchor->manifest32, word_of(&data, 0), 32);
	GUARD(read_number(&anchor->time_s, word_of(&data, 1)));
	GUARD(read_address(anchor->member20, word_of(&data, 2)));
	/* Milliseconds are signed where they are used. */
	ENSURE(anchor->time_s <= INT64_MAX / 1000, KMS_ERR_ABI);
	return KMS_OK;
}

kms_status kms_abi_decode_anchor(kms_abi_anchor *anchor, kms_span data)
{
	ENSURE_REF(anchor);
	*anchor = (kms_abi_anchor){ 0 };
	kms_abi_anchor read = { 0 };
	GUARD(decode_anchor(&read, data));
	*anchor = read;
	return KMS_OK;
}

/* ---- one word ----------------------------------------------------------------------------------- */

/* A function that returns one value returns exactly one word. */
static kms_status check_word(kms_span data)
{
	ENSURE(data.bytes || data.len == 0, KMS_ERR_ARGUMENT);
	ENSURE(data.len == KMS_ABI_WORD, KMS_ERR_ABI);
	return KMS_OK;
}

kms_status kms_abi_decode_number(uint64_t *number, kms_span data)
{
	ENSURE_REF(number);
	*number = 0;
	GUARD(check_word(data));
	return read_number(number, data.bytes);
}

kms_status kms_abi_decode_address(uint8_t address20[20], kms_span data)
{
	ENSURE_REF(address20);
	memset(address20, 0, 20);
	GUARD(check_word(data));
	return read_address(address20, data.bytes);
}

kms_status kms_abi_decode_bytes32(uint8_t bytes32[32], kms_span data)
{
	ENSURE_REF(bytes32);
	memset(bytes32, 0, 32);
	GUARD(check_word(data));
	memcpy(bytes32, data.bytes, 32);
	return KMS_OK;
}

kms_status kms_abi_decode_bool(bool *truth, kms_span data)
{
	ENSURE_REF(truth);
	*truth = false;
	GUARD(check_word(data));
	return read_bool(truth, data.bytes);
}

/* ---- lists ---------------------------------------------------------------------------------------- */

static kms_status decode_list(kms_abi_list *list, kms_span data)
{
	kms_span part;
	size_t count;
	GUARD(open_data(&part, data, 1));
	GUARD(read_size(&count, part.bytes, part.len / KMS_ABI_WORD - 1));
	*list = (kms_abi_list){ part.bytes + KMS_ABI_WORD, count };
	return KMS_OK;
}

const uint8_t *kms_abi_list_address20(const kms_abi_list *list, size_t index)
{
	return list->words + index * KMS_ABI_WORD + KMS_ABI_WORD - 20;
}

uint64_t kms_abi_list_number(const kms_abi_list *list, size_t index)
{
	return kms_load64_be(list->words + index * KMS_ABI_WORD + KMS_ABI_WORD - 8);
}

/* A list whose words have only zeros before their last `width` bytes. */
static kms_status decode_words(kms_abi_list *list, kms_span data, size_t width)
{
	ENSURE_REF(list);
	*list = (kms_abi_list){ 0 };
	kms_abi_list read = { 0 };
	GUARD(decode_list(&read, data));
	for (size_t i = 0; i < read.count; i++)
		ENSURE(is_zero(read.words + i * KMS_ABI_WORD, KMS_ABI_WORD - width), KMS_ERR_ABI);
	*list = read;
	return KMS_OK;
}

kms_status kms_abi_decode_addresses(kms_abi_list *list, kms_span data)
{
	return decode_words(list, data, 20);
}

kms_status kms_abi_decode_numbers(kms_abi_list *list, kms_span data)
{
	return decode_words(list, data, 8);
}
