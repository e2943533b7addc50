/* What a node does with its secrets. */
#include <fcntl.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "crypto/testing.h"
#include "check.h"
#include "kms/envelope.h"
#include "kms/eth_text.h"
#include "kms/nonce.h"
#include "kms/nsm.h"
#include "kms/p384.h"
#include "kms/request.h"
#include "kms/sealed.h"
#include "kms/tx.h"
#include "kms/value_seal.h"
#include "kms/wallet.h"
#include "taint.h"

#define KEY 32
#define NOW 1700000000000u

static kms_p384 *plain_p384(void)
{
	return hex_p384("1234567890abcdef");
}

/* ---- nonces: the key that they are made under ---- */

static void nonces(void)
{
	kms_nonces *list;
	char text[KMS_NONCE_TEXT];
	ct_hide_random(true);
	MUST(kms_nonces_new(&list, 60));
	MUST(kms_nonces_issue(text, list, 1000));
	show(text, sizeof(text)); /* sent to the client */
	MUST(kms_nonces_consume(list, kms_text_of(text, sizeof(text)), 1001));
	if (kms_nonces_consume(list, kms_text_of(text, sizeof(text)), 1001) != KMS_ERR_POP_NONCE_USED)
		exit(2);
	text[5] = text[5] == 'A' ? 'B' : 'A';
	if (kms_nonces_consume(list, kms_text_of(text, sizeof(text)), 1001) != KMS_ERR_POP_NONCE) exit(2);
	kms_nonces_free(list);
}

/* ---- the sealed master secret ---- */

static void sealed_secret(void)
{
	static const uint8_t iv[12] = { 3 };
	kms_secret *master = hidden_secret(KEY, 1), *opened, *scalar = hidden_secret(48, 2);
	kms_p384 *requester, *ephemeral = plain_p384(), *other = hex_p384("99");
	kms_sealed sealed;
	MUST(kms_p384_new(&requester, scalar));
	show(kms_p384_public(requester), KMS_P384_POINT);
	MUST(kms_master_seal_with(&sealed, master, kms_p384_public(requester), ephemeral, iv));
	show(&sealed, sizeof(sealed));
	MUST(kms_master_unseal(&opened, &sealed, requester));
	if (!kms_secret_equal(opened, master)) exit(2);
	kms_secret_unref(opened);
	if (kms_master_unseal(&opened, &sealed, other) != KMS_ERR_SEALED) exit(2);
	sealed.data48[40] ^= 1;
	if (kms_master_unseal(&opened, &sealed, requester) != KMS_ERR_SEALED) exit(2);
	kms_p384_free(requester);
	kms_p384_free(ephemeral);
	kms_p384_free(other);
	kms_secret_unref(scalar);
	kms_secret_unref(master);
}

/* ---- channels and envelopes ---- */

static void channel(void)
{
	kms_channels *channels;
	kms_secret *scalar = hidden_secret(48, 3), *key;
	kms_p384 *own, *peer = plain_p384();
	MUST(kms_channels_new(&channels, 4));
	MUST(kms_p384_new(&own, scalar));
	show(kms_p384_public(own), KMS_P384_POINT);
	for (int i = 0; i < 2; i++) { /* derived, then found */
		MUST(kms_channels_get(&key, channels, own, kms_p384_public(peer)));
		kms_secret_unref(key);
	}
	kms_channels_free(channels);
	kms_p384_free(own);
	kms_p384_free(peer);
	kms_secret_unref(scalar);
}

static void envelope(void)
{
	kms_secret *key = hidden_secret(KEY, 4), *mac_key = hidden_secret(KEY, 5),
		   *text = hidden_secret(64, 6);
	kms_p384 *own = plain_p384();
	kms_buf body = kms_buf_make(KMS_BUF_PLAIN, 4096), plain = kms_buf_make(KMS_BUF_GUARDED, 4096);
	kms_envelope parsed;
	uint8_t mac[32];
	bool authentic;
	MUST(kms_envelope_seal(&body, key, kms_p384_public(own), kms_span_of(kms_secret_bytes(text), 64)));
	show(body.data, body.len);
	/* What it is to be, and what somebody who guesses digit by digit sends. Sealed bodies are canonical.
	 */
	MUST(kms_hmac_sha256(mac, mac_key, kms_buf_span(&body)));
	kms_buf again = kms_buf_make(KMS_BUF_PLAIN, 4096);
	MUST(kms_buf_append(&again, kms_buf_span(&body)));
	show(mac, sizeof(mac));
	mac[31] ^= 1;
	MUST(kms_envelope_parse_mac(&parsed, &authentic, (char *)again.data, again.len, mac_key, mac));
	if (authentic) exit(2);
	mac[31] ^= 1;
	MUST(kms_envelope_parse_mac(&parsed, &authentic, (char *)body.data, body.len, mac_key, mac));
	if (!authentic) exit(2);
	kms_buf_free(&again);
	MUST(kms_envelope_open(&plain, &parsed, key));
	kms_buf_free(&body);
	kms_buf_free(&plain);
	kms_p384_free(own);
	kms_secret_unref(key);
	kms_secret_unref(mac_key);
	kms_secret_unref(text);
}

/* ---- requests: a derived key on its way out, a value on its way in and out ---- */

static const kms_request_limits limits = { .max_value = 4096, .max_key = 100 };

static void answer(kms_buf *plain, kms_request *request, kms_store *store, const kms_secret *master)
{
	const kms_execution context = { .app_id = 49, .master = master, .store = store, .now_ms = NOW };
	MUST(kms_request_execute(plain, request, &context));
	kms_request_clear(request);
	kms_buf_free(plain);
}

static kms_store *new_store(void)
{
	kms_store *store;
	kms_store_config config = { .self20 = { 1 },
				    .max_key = 100,
				    .max_value = 4096,
				    .max_app_bytes = 1 << 20,
				    .max_total_bytes = 1 << 21,
				    .max_namespaces = 10,
				    .max_tombstones = 10,
				    .tombstone_retention_ms = 1000,
				    .max_clock_skew_ms = 1000 };
	MUST(kms_store_new(&store, &config));
	return store;
}

static kms_request parsed(const char *text, kms_request_kind kind)
{
	kms_request request;
	const char *field;
	kms_buf body = kms_buf_make(KMS_BUF_GUARDED, 4096);
	MUST(kms_buf_append_text(&body, text));
	MUST(kms_request_parse(&request, &field, &body, kind, &limits));
	return request;
}

static void requests(void)
{
	kms_secret *master = hidden_secret(KEY, 7);
	kms_store *store = new_store();
	kms_buf plain = kms_buf_make(KMS_BUF_GUARDED, 1 << 16);
	kms_request request = parsed("{\"path\":\"a\",\"length\":100}", KMS_REQUEST_DERIVE);
	answer(&plain, &request, store, master);
	request = parsed("{\"key\":\"k\",\"value\":\"AAECAwQFBgcICQ==\"}", KMS_REQUEST_PUT);
	hide((void *)(uintptr_t)request.value.bytes, request.value.len);
	answer(&plain, &request, store, master);
	MUST(kms_request_for_key(&request, KMS_TEXT("k")));
	answer(&plain, &request, store, master);
	kms_store_free(store);
	kms_secret_unref(master);
}

static void records(void)
{
	kms_secret *key = hidden_secret(KEY, 8), *value = hidden_secret(64, 9);
	kms_buf record = kms_buf_make(KMS_BUF_PLAIN, 4096), plain = kms_buf_make(KMS_BUF_GUARDED, 4096);
	MUST(kms_value_seal(&record, key, kms_span_of(kms_secret_bytes(value), 64)));
	show(record.data, record.len);
	MUST(kms_value_open(&plain, key, kms_buf_span(&record)));
	MUST(kms_value_verify(key, kms_buf_span(&record)));
	record.data[record.len - 1] ^= 1;
	if (kms_value_open(&plain, key, kms_buf_span(&record)) != KMS_ERR_DECRYPT) exit(2);
	if (kms_value_verify(key, kms_buf_span(&record)) != KMS_ERR_DECRYPT) exit(2);
	kms_buf_free(&record);
	kms_buf_free(&plain);
	kms_secret_unref(key);
	kms_secret_unref(value);
}

/* ---- signatures ---- */

static void signatures(void)
{
	kms_secret *key = hidden_secret(KEY, 10);
	kms_wallet *wallet;
	uint8_t hash[32], address[20];
	char response[KMS_SIGNATURE_TEXT];
	const kms_text request = { "0x1234", 6 };
	const kms_tx tx = { .chain_id = 1, .max_fee_per_gas = 1, .gas_limit = 21000 };
	kms_buf raw = kms_buf_make(KMS_BUF_PLAIN, 4096);
	MUST(kms_wallet_new(&wallet, key));
	kms_wallet_address(address, wallet);
	show(address, sizeof(address));
	MUST(kms_response_sign(response, wallet, request));
	MUST(kms_tx_sign(hash, &raw, &tx, wallet));
	kms_buf_free(&raw);
	kms_wallet_free(wallet);
	kms_secret_unref(key);
}

/* ---- keys from the Nitro Security Module: a device that gives hidden bytes ---- */

static int device = -1;

int open(const char *path, int flags, ...)
{
	va_list list;
	va_start(list, flags);
	int mode = flags & O_CREAT ? va_arg(list, int) : 0;
	va_end(list);
	if (strcmp(path, "/dev/nsm") != 0) return openat(AT_FDCWD, path, flags, mode);
	device = openat(AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC);
	return device;
}

int ioctl(int fd, unsigned long number, ...)
{
	static const uint8_t head[] = "\xa1\x69GetRandom\xa1\x66random\x58\x40";
	struct {
		uint64_t request, request_len, response, response_len;
	} * message;
	va_list list;
	va_start(list, number);
	message = va_arg(list, void *);
	va_end(list);
	if (fd != device) exit(2);
	uint8_t *out = (uint8_t *)(uintptr_t)message->response;
	memcpy(out, head, sizeof(head) - 1);
	memset(out + sizeof(head) - 1, 0x5a, 64);
	hide(out + sizeof(head) - 1, 64);
	message->response_len = sizeof(head) - 1 + 64;
	return 0;
}

static void module_keys(void)
{
	kms_nsm *nsm;
	kms_wallet *wallet;
	kms_p384 *key;
	kms_secret *secret;
	MUST(kms_nsm_open(&nsm));
	ct_hide_random(true);
	MUST(kms_nsm_identity(&wallet, &key, nsm));
	MUST(kms_nsm_secret(&secret, nsm, KEY, KMS_TEXT("random")));
	kms_secret_unref(secret);
	kms_wallet_free(wallet);
	kms_p384_free(key);
	kms_nsm_close(nsm);
}

const ct_case ct_flows[] = {
	{ "nonces", nonces },
	{ "the sealed master secret", sealed_secret },
	{ "the key of a channel", channel },
	{ "envelopes and their MAC", envelope },
	{ "derive, put and get", requests },
	{ "records of the store", records },
	{ "addresses and transactions", signatures },
	{ "keys from the security module", module_keys },
	{ NULL, NULL },
};
