/* Age files: known answers, what is refused, and files as other writers make them. */
#include "base/testing.h"
#include "crypto/age_internal.h"
#include "vectors_kit.h"

static kms_x25519 *x25519(const kms_json_value *hex)
{
	kms_x25519 *key;
	kms_secret *scalar = secret(hex);
	MUST(kms_x25519_new(&key, scalar));
	kms_secret_unref(scalar);
	return key;
}

static kms_x25519 *fresh(void)
{
	kms_x25519 *key;
	MUST(kms_x25519_generate(&key));
	return key;
}

static void check_case(int *failed_, const vectors *v)
{
	size_t len;
	char recipient[KMS_AGE_RECIPIENT];
	uint8_t *plain = bytes_of(&len, text(v, "plain")), file_key[16], nonce[16], parsed[32];
	kms_x25519 *key = x25519(text(v, "priv")), *ephemeral = x25519(text(v, "ephemeral_priv"));
	kms_buf file = kms_buf_make(KMS_BUF_PLAIN, 1 << 16), opened = kms_buf_make(KMS_BUF_GUARDED, 2048);
	const kms_json_value *want = text(v, "file");
	fixed(file_key, sizeof(file_key), text(v, "file_key"));
	fixed(nonce, sizeof(nonce), text(v, "nonce"));
	const kms_age_draws draws = { ephemeral, file_key, nonce };
	CHECK_OK(kms_age_seal_with(&file, kms_x25519_public(key), kms_span_of(plain, len), &draws));
	CHECK(text_is((char *)file.data, file.len, want));
	CHECK_OK(kms_age_open(&opened, key, kms_json_text(want)));
	CHECK(bytes_are(opened.data, opened.len, text(v, "plain")));
	kms_age_recipient_format(recipient, kms_x25519_public(key));
	CHECK(text_is(recipient, sizeof(recipient), text(v, "recipient")));
	CHECK_OK(kms_age_recipient_parse(parsed, kms_json_text(text(v, "recipient"))));
	CHECK_MEM(parsed, kms_x25519_public(key), 32);
	kms_buf_free(&file);
	kms_buf_free(&opened);
	kms_x25519_free(key);
	kms_x25519_free(ephemeral);
	free(plain);
}

TEST(writes_and_opens_the_files_of_another_implementation)
{
	each(failed_, "age", check_case);
}

/* A file of "share" to a key. */
static kms_buf sealed(const kms_x25519 *key)
{
	kms_buf file = kms_buf_make(KMS_BUF_PLAIN, 1 << 16);
	MUST(kms_age_seal(&file, kms_x25519_public(key), KMS_BYTES("share")));
	return file;
}

static kms_status open_text(const kms_x25519 *key, kms_text file)
{
	kms_buf plain = kms_buf_make(KMS_BUF_GUARDED, 2048);
	kms_status status = kms_age_open(&plain, key, file);
	bool good = plain.len == 5 && memcmp(plain.data, "share", 5) == 0;
	if ((status == KMS_OK) != good || (status != KMS_OK && plain.len)) status = KMS_ERR_STATE;
	kms_buf_free(&plain);
	return status;
}

TEST(is_opened_by_its_recipient_only)
{
	kms_x25519 *alice = fresh(), *bob = fresh();
	kms_buf file = sealed(alice), again = sealed(alice);
	CHECK_OK(open_text(alice, kms_buf_text(&file)));
	CHECK_STATUS(KMS_ERR_AGE, open_text(bob, kms_buf_text(&file)));
	CHECK(file.len == again.len && memcmp(file.data, again.data, file.len) != 0);
	kms_buf_free(&file);
	kms_buf_free(&again);
	kms_x25519_free(alice);
	kms_x25519_free(bob);
}

TEST(refuses_each_changed_character_and_each_cut)
{
	kms_x25519 *key = fresh();
	kms_buf file = sealed(key);
	for (size_t i = 0; i < file.len; i++) {
		uint8_t old = file.data[i];
		file.data[i] ^= 1;
		CHECK_STATUS(KMS_ERR_AGE, open_text(key, kms_buf_text(&file)));
		file.data[i] = old;
		CHECK_STATUS(KMS_ERR_AGE, open_text(key, kms_text_of((char *)file.data, i)));
	}
	CHECK_OK(open_text(key, kms_buf_text(&file)));
	kms_buf_free(&file);
	kms_x25519_free(key);
}

TEST(takes_ends_of_lines_in_both_forms_and_blanks_after_the_file)
{
	kms_x25519 *key = fresh();
	kms_buf file = sealed(key), other = kms_buf_make(KMS_BUF_PLAIN, 1 << 16);
	for (size_t i = 0; i < file.len; i++)
		MUST(kms_buf_append(&other, file.data[i] == '\n' ? KMS_BYTES("\r\n")
								 : kms_span_of(file.data + i, 1)));
	MUST(kms_buf_append_text(&other, " \n\t\r\n"));
	CHECK_OK(open_text(key, kms_buf_text(&other)));
	MUST(kms_buf_append_text(&other, "x"));
	CHECK_STATUS(KMS_ERR_AGE, open_text(key, kms_buf_text(&other)));
	kms_buf_free(&file);
	kms_buf_free(&other);
	kms_x25519_free(key);
}

#define SHARE_32 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

static const char *const others[] = {
	"-> joint-oil-hw 1 2\nAAAA\n",
	"-> grease\n\n",
	"-> long\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n\n",
};

/* A file with `count` of these stanzas before the one that is ours, and a text after its MAC. */
static kms_buf with_stanzas(const kms_x25519 *key, const char *const *stanzas, size_t count,
			    const char *after_mac)
{
	uint8_t mac[32];
	char base64[44];
	const uint8_t *nonce16 = (const uint8_t *)"sixteen bytes ok",
		      *file_key16 = (const uint8_t *)"0123456789abcdef";
	kms_x25519 *ephemeral = fresh();
	const kms_age_draws draws = { ephemeral, file_key16, nonce16 };
	kms_buf file = kms_buf_make(KMS_BUF_PLAIN, 1 << 16), bytes = kms_buf_make(KMS_BUF_PLAIN, 1 << 16);
	kms_buf whole = kms_buf_make(KMS_BUF_PLAIN, 1 << 16), lines = kms_buf_make(KMS_BUF_PLAIN, 1 << 16);
	MUST(kms_age_seal_with(&file, kms_x25519_public(key), KMS_BYTES("share"), &draws));
	for (size_t i = sizeof(AGE_BEGIN); i < file.len - sizeof(AGE_END); i++)
		if (file.data[i] != '\n') MUST(kms_buf_append(&lines, kms_span_of(file.data + i, 1)));
	MUST(kms_buf_reserve(&bytes, lines.len));
	MUST(kms_base64_decode(bytes.data, &bytes.len, kms_buf_text(&lines)));
	/* The version's line and its LF, then the stanza up to "---". */
	size_t head = sizeof(AGE_VERSION), mark = head;
	while (memcmp(bytes.data + mark, "---", 3) != 0)
		mark++;
	MUST(kms_buf_append(&whole, kms_span_of(bytes.data, head)));
	for (size_t i = 0; i < count; i++)
		MUST(kms_buf_append_text(&whole, stanzas[i % KMS_ARRAY_LEN(others)]));
	MUST(kms_buf_append(&whole, kms_span_of(bytes.data + head, mark + 3 - head)));
	MUST(kms_age_header_mac(mac, file_key16, kms_buf_span(&whole)));
	kms_base64_encode(base64, KMS_SPAN(mac));
	MUST(kms_buf_append_text(&whole, " "));
	MUST(kms_buf_append(&whole, kms_span_of(base64, AGE_BASE64_32)));
	MUST(kms_buf_append_text(&whole, after_mac));
	MUST(kms_buf_append(&whole, kms_span_of(bytes.data + mark + 4 + AGE_BASE64_32,
						bytes.len - mark - 4 - AGE_BASE64_32)));
	kms_buf_clear(&lines);
	kms_buf_clear(&file);
	MUST(kms_buf_append_base64(&lines, kms_buf_span(&whole)));
	MUST(kms_buf_append_text(&file, AGE_BEGIN "\n"));
	for (size_t at = 0; at < lines.len; at += AGE_LINE) {
		size_t len = lines.len - at < AGE_LINE ? lines.len - at : AGE_LINE;
		MUST(kms_buf_append(&file, kms_span_of(lines.data + at, len)));
		MUST(kms_buf_append_text(&file, "\n"));
	}
	MUST(kms_buf_append_text(&file, AGE_END));
	MUST(kms_buf_append_text(&file, "\n"));
	kms_buf_free(&bytes);
	kms_buf_free(&whole);
	kms_buf_free(&lines);
	kms_x25519_free(ephemeral);
	return file;
}

/* It was a wrong argument. */
TEST(refuses_armor_that_is_too_short_for_a_byte)
{
	kms_x25519 *key = fresh();
	CHECK_STATUS(KMS_ERR_AGE, open_text(key, KMS_TEXT(AGE_BEGIN "\nY1H\n" AGE_END "\n")));
	kms_x25519_free(key);
}

TEST(passes_over_stanzas_of_others_up_to_the_limit)
{
	kms_x25519 *key = fresh();
	for (size_t count = 0; count <= 20; count++) {
		kms_buf file = with_stanzas(key, others, count, "");
		CHECK_STATUS(count < 20 ? KMS_OK : KMS_ERR_AGE, open_text(key, kms_buf_text(&file)));
		kms_buf_free(&file);
	}
	kms_x25519_free(key);
}

TEST(takes_keys_and_macs_of_one_length_and_no_weak_key)
{
	static const char *const stanzas[] = {
		"-> X25519 " SHARE_32 "\n" SHARE_32 "\n", /* of small order */
		"-> X25519 " SHARE_32 "A\n" SHARE_32 "\n",
		"-> X25519 AAAA\n" SHARE_32 "\n",
		"-> X25519 \n" SHARE_32 "\n",
	};
	kms_x25519 *key = fresh();
	for (size_t i = 0; i < KMS_ARRAY_LEN(stanzas); i++) {
		kms_buf file = with_stanzas(key, &stanzas[i], 1, "");
		CHECK_STATUS(KMS_ERR_AGE, open_text(key, kms_buf_text(&file)));
		kms_buf_free(&file);
	}
	kms_buf file = with_stanzas(key, others, 1, "A");
	CHECK_STATUS(KMS_ERR_AGE, open_text(key, kms_buf_text(&file)));
	kms_buf_free(&file);
	kms_x25519_free(key);
}

/* Its key is zeros, as the memory is into which none was unwrapped. */
TEST(opens_no_file_without_a_stanza_of_its_own)
{
	static const uint8_t zeros[AGE_FILE_KEY];
	kms_x25519 *key = fresh(), *other = fresh(), *ephemeral = fresh();
	const kms_age_draws draws = { ephemeral, zeros, (const uint8_t *)"sixteen bytes ok" };
	kms_buf file = kms_buf_make(KMS_BUF_PLAIN, 1 << 16);
	CHECK_OK(kms_age_seal_with(&file, kms_x25519_public(other), KMS_BYTES("share"), &draws));
	CHECK_OK(open_text(other, kms_buf_text(&file)));
	CHECK_STATUS(KMS_ERR_AGE, open_text(key, kms_buf_text(&file)));
	kms_buf_free(&file);
	kms_x25519_free(key);
	kms_x25519_free(other);
	kms_x25519_free(ephemeral);
}

TEST(takes_recipients_in_their_one_form)
{
	uint8_t key[32], low[32] = { 0 };
	char own[KMS_AGE_RECIPIENT], changed[KMS_AGE_RECIPIENT];
	kms_x25519 *made = fresh();
	kms_age_recipient_format(own, kms_x25519_public(made));
	for (size_t i = 0; i < sizeof(own); i++) {
		memcpy(changed, own, sizeof(own));
		changed[i] = own[i] == 'q' ? 'p' : 'q';
		CHECK_STATUS(KMS_ERR_RECIPIENT,
			     kms_age_recipient_parse(key, kms_text_of(changed, sizeof(changed))));
		changed[i] = (char)(own[i] - 'a' + 'A');
		CHECK_STATUS(KMS_ERR_RECIPIENT,
			     kms_age_recipient_parse(key, kms_text_of(changed, sizeof(changed))));
		CHECK_STATUS(KMS_ERR_RECIPIENT, kms_age_recipient_parse(key, kms_text_of(own, i)));
	}
	changed[0] = '\0';
	CHECK_STATUS(KMS_ERR_RECIPIENT, kms_age_recipient_parse(key, kms_text_of(changed, sizeof(changed))));
	CHECK_STATUS(KMS_ERR_RECIPIENT, kms_age_recipient_parse(key, KMS_NO_TEXT));
	/* Whoever knows the format could open files to a key of small order. */
	kms_age_recipient_format(own, low);
	CHECK_STATUS(KMS_ERR_RECIPIENT, kms_age_recipient_parse(key, kms_text_of(own, sizeof(own))));
	CHECK_MEM(key, low, 32);
	kms_x25519_free(made);
}

TEST(keeps_to_its_sizes)
{
	static uint8_t large[KMS_AGE_MAX_PLAIN + 1];
	static char spaces[KMS_AGE_MAX_FILE + 1];
	kms_x25519 *key = fresh();
	kms_buf file = kms_buf_make(KMS_BUF_PLAIN, 1 << 16), plain = kms_buf_make(KMS_BUF_GUARDED, 2048);
	kms_buf ordinary = kms_buf_make(KMS_BUF_PLAIN, 2048);
	CHECK_STATUS(KMS_ERR_TOO_LARGE, kms_age_seal(&file, kms_x25519_public(key), KMS_SPAN(large)));
	CHECK_OK(kms_age_seal(&file, kms_x25519_public(key), kms_span_of(large, KMS_AGE_MAX_PLAIN)));
	CHECK_OK(kms_age_open(&plain, key, kms_buf_text(&file)));
	CHECK(plain.len == KMS_AGE_MAX_PLAIN);
	/* Of other writers, too. */
	const kms_age_draws draws = { key, large, large };
	kms_buf_clear(&file);
	CHECK_OK(kms_age_seal_with(&file, kms_x25519_public(key), KMS_SPAN(large), &draws));
	CHECK_STATUS(KMS_ERR_AGE, kms_age_open(&plain, key, kms_buf_text(&file)));
	kms_buf_clear(&file);
	CHECK_OK(kms_age_seal(&file, kms_x25519_public(key), kms_span_of(large, KMS_AGE_MAX_PLAIN)));
	/* Plaintext goes to guarded memory only. */
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_age_open(&ordinary, key, kms_buf_text(&file)));
	memset(spaces, ' ', sizeof(spaces));
	memcpy(spaces, file.data, file.len);
	CHECK_OK(kms_age_open(&plain, key, kms_text_of(spaces, sizeof(spaces) - 1)));
	CHECK_STATUS(KMS_ERR_AGE, kms_age_open(&plain, key, kms_text_of(spaces, sizeof(spaces))));
	CHECK(plain.len == 0);
	kms_buf_free(&file);
	kms_buf_free(&plain);
	kms_x25519_free(key);
}

TEST(leaves_nothing_behind_when_memory_fails)
{
	kms_x25519 *key = fresh();
	kms_buf known = sealed(key);
	size_t before = kms_guarded_used();
	for (unsigned long n = 1;; n++) {
		kms_buf file = kms_buf_make(KMS_BUF_PLAIN, 1 << 16),
			plain = kms_buf_make(KMS_BUF_GUARDED, 2048);
		kms_mem_fail_after(n);
		kms_status sealing = kms_age_seal(&file, kms_x25519_public(key), KMS_BYTES("share"));
		kms_status opening = kms_age_open(&plain, key, kms_buf_text(&known));
		bool ends = sweep_ends(n);
		CHECK((sealing == KMS_OK) == (file.len > 0) && (opening == KMS_OK) == (plain.len == 5));
		CHECK(sealing != KMS_ERR_AGE && opening != KMS_ERR_AGE);
		kms_buf_free(&file);
		kms_buf_free(&plain);
		CHECK(kms_guarded_used() <= before + 4096);
		if (ends) break;
	}
	kms_buf_free(&known);
	kms_x25519_free(key);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(writes_and_opens_the_files_of_another_implementation),
	  T(is_opened_by_its_recipient_only), T(refuses_each_changed_character_and_each_cut),
	  T(takes_ends_of_lines_in_both_forms_and_blanks_after_the_file),
	  T(passes_over_stanzas_of_others_up_to_the_limit), T(refuses_armor_that_is_too_short_for_a_byte),
	  T(takes_keys_and_macs_of_one_length_and_no_weak_key), T(opens_no_file_without_a_stanza_of_its_own),
	  T(takes_recipients_in_their_one_form), T(keeps_to_its_sizes),
	  T(leaves_nothing_behind_when_memory_fails))
