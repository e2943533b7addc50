/* Shares of a hidden secret, and the secret from its hidden shares; age files of hidden bytes. */
#include "check.h"
#include "kms/age.h"
#include "kms/challenge.h"
#include "kms/kdf.h"
#include "kms/share.h"
#include "taint.h"

#define KEY 32
#define CUSTODIANS 5

static const kms_share_set set = { .id32 = { 1 }, .threshold = 3, .count = CUSTODIANS };

static void share(void)
{
	uint8_t hash[32];
	kms_secret *master = hidden_secret(KEY, 1), *found;
	kms_share_part parts[CUSTODIANS];
	uint32_t wrong;
	for (uint8_t x = 1; x <= CUSTODIANS; x++) {
		kms_share_head head;
		kms_secret *y;
		kms_buf made = kms_buf_make(KMS_BUF_GUARDED, KMS_SHARE_BYTES);
		MUST(kms_share_make(&made, master, &set, x, 20787));
		show(made.data, KMS_SHARE_BYTES - KEY); /* the public part */
		MUST(kms_share_read(&head, &y, kms_buf_span(&made)));
		parts[x - 1] = (kms_share_part){ x, y };
		kms_buf_free(&made);
	}
	kms_secret_keccak256(hash, master);
	show(hash, sizeof(hash)); /* it stands on chain */
	MUST(kms_share_combine(&found, &wrong, parts, CUSTODIANS, set.threshold, hash));
	if (wrong) exit(2);
	kms_secret_unref(found);
	/* One that does not fit: each subset with it gives another hash. */
	kms_secret *forged = hidden_secret(KEY, 2);
	kms_secret_unref((kms_secret *)parts[0].y32);
	parts[0].y32 = forged;
	MUST(kms_share_combine(&found, &wrong, parts, CUSTODIANS, set.threshold, hash));
	if (wrong != 1u << 1) exit(2);
	kms_secret_unref(found);
	for (size_t i = 0; i < CUSTODIANS; i++)
		kms_secret_unref((kms_secret *)parts[i].y32);
	kms_secret_unref(master);
}

static void age(void)
{
	kms_secret *plain = hidden_secret(64, 3);
	kms_x25519 *key;
	kms_buf file = kms_buf_make(KMS_BUF_PLAIN, KMS_AGE_MAX_FILE),
		opened = kms_buf_make(KMS_BUF_GUARDED, 128);
	ct_hide_random(true);
	MUST(kms_x25519_generate(&key));
	MUST(kms_age_seal(&file, kms_x25519_public(key), kms_secret_span(plain)));
	show(file.data, file.len); /* anybody may have it */
	MUST(kms_age_open(&opened, key, kms_buf_text(&file)));
	if (opened.len != 64) exit(2);
	file.data[file.len / 2] ^= 1;
	if (kms_age_open(&opened, key, kms_buf_text(&file)) != KMS_ERR_AGE) exit(2);
	kms_buf_free(&file);
	kms_buf_free(&opened);
	kms_x25519_free(key);
	kms_secret_unref(plain);
}

static void challenge(void)
{
	static const uint8_t wallet[20] = { 1 };
	uint8_t mac[32];
	kms_secret *key = hidden_secret(KEY, 4), *c, *read;
	kms_buf text = kms_buf_make(KMS_BUF_GUARDED, KMS_CHALLENGE_BYTES);
	MUST(kms_challenge_secret(&c, key, 3, 500000, KMS_NO_BYTES));
	MUST(kms_challenge_write(&text, wallet, 3, c));
	show(text.data, KMS_CHALLENGE_BYTES - KEY); /* the public part */
	MUST(kms_challenge_read(&read, kms_buf_span(&text), wallet, 3));
	MUST(kms_challenge_answer(mac, read, KMS_BYTES("body")));
	kms_secret_unref(c);
	kms_secret_unref(read);
	kms_secret_unref(key);
	kms_buf_free(&text);
}

const ct_case ct_recovery[] = {
	{ "shares of a secret, and a secret from shares", share },
	{ "age files", age },
	{ "challenges to custodians", challenge },
	{ NULL, NULL },
};
