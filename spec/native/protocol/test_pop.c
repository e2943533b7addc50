/*
 * Proof of possession, both sides (docs/protocol.md section 4). Signatures themselves have known
 * answers in test_wallet.c; this is about what is signed, and the order of the checks.
 */
#include "material.h"

#include "kms/pop.h"

#define NOW 1700000000u
#define MONO 5000u
#define WINDOW 120u

/* A node, an application, and headers made for each other; `stamp` owns the timestamp's text. */
typedef struct world {
	kms_wallet *app;
	uint8_t app20[20], node20[20];
	kms_nonces *nonces;
	char nonce[KMS_NONCE_TEXT], signature[KMS_SIGNATURE_TEXT], stamp[32];
	kms_pop pop;
} world;

static kms_text text_of(const char *text)
{
	return (kms_text){ text, strlen(text) };
}

static void make_wallet(kms_wallet **wallet, uint8_t address20[20], const char *hex)
{
	kms_secret *key = hex_secret(hex);
	MUST(kms_wallet_new(wallet, key));
	kms_wallet_address(address20, *wallet);
	kms_secret_unref(key);
}

static void world_open(world *w)
{
	kms_wallet *node;
	*w = (world){ 0 };
	make_wallet(&w->app, w->app20, "34c11d61adeff314e36638920dacc44360b8a17fecb88ee1c39b21321c6557be");
	make_wallet(&node, w->node20, "09a26763162bacb9aa07e849dd3e83f1e6601c82d766656b91fdf613fb5e0b6c");
	kms_wallet_free(node);
	MUST(kms_nonces_new(&w->nonces, WINDOW));
}

static void world_close(world *w)
{
	kms_wallet_free(w->app);
	kms_nonces_free(w->nonces);
}

/* Signs the text for these digits of a timestamp, which need not be the ones a client writes. */
static void sign_text(world *w, const char *domain, const char *stamp)
{
	char address[43], message[256];
	uint8_t sig[65];
	kms_address_format(address, w->node20);
	address[42] = '\0';
	int len = snprintf(message, sizeof(message), "NovaKMS:%s:%.*s:%s:%s", domain, KMS_NONCE_TEXT,
			   w->nonce, address, stamp);
	MUST(kms_wallet_sign_message(sig, w->app, kms_span_of(message, (size_t)len)));
	kms_signature_format(w->signature, sig);
}

/* Fresh headers of an application, signed over the text that docs/protocol.md section 4 gives. */
static void headers_at(world *w, const char *stamp)
{
	MUST(kms_nonces_issue(w->nonce, w->nonces, MONO));
	snprintf(w->stamp, sizeof(w->stamp), "%s", stamp);
	sign_text(w, "AppAuth", stamp);
	w->pop = (kms_pop){ .domain = KMS_POP_APP,
			    .signature = { w->signature, KMS_SIGNATURE_TEXT },
			    .nonce = { w->nonce, KMS_NONCE_TEXT },
			    .timestamp = { w->stamp, strlen(w->stamp) } };
}

static kms_status check(world *w, uint8_t caller20[20])
{
	return kms_pop_check(caller20, w->nonces, &w->pop, w->node20, NOW, MONO, WINDOW);
}

static bool is_zero(const uint8_t address20[20])
{
	static const uint8_t zeros[20];
	return memcmp(address20, zeros, 20) == 0;
}

TEST(honest_headers_name_the_caller)
{
	world w;
	uint8_t caller[20];
	world_open(&w);
	headers_at(&w, "1700000000");
	CHECK_OK(check(&w, caller));
	CHECK_MEM(caller, w.app20, 20);
	/* The nonce is consumed. */
	CHECK_STATUS(KMS_ERR_POP_NONCE_USED, check(&w, caller));
	CHECK(is_zero(caller));
	world_close(&w);
}

TEST(what_is_signed_here_is_accepted_there)
{
	world w;
	uint8_t caller[20];
	world_open(&w);
	for (int domain = KMS_POP_APP; domain <= KMS_POP_PEER; domain++) {
		headers_at(&w, "1700000001");
		w.pop.domain = (kms_pop_domain)domain;
		CHECK_OK(kms_pop_sign(w.signature, w.app, w.pop.domain, w.pop.nonce, w.node20, NOW + 1));
		CHECK_OK(check(&w, caller));
		CHECK_MEM(caller, w.app20, 20);
	}
	headers_at(&w, "1700000000");
	sign_text(&w, "Auth", "1700000000");
	w.pop.domain = KMS_POP_PEER;
	CHECK_OK(check(&w, caller));
	/* A signature for one domain is not one for the other: it recovers another wallet, or none. */
	headers_at(&w, "1700000000");
	w.pop.domain = KMS_POP_PEER;
	kms_status status = check(&w, caller);
	CHECK(status == KMS_ERR_SIGNATURE || (status == KMS_OK && memcmp(caller, w.app20, 20) != 0));
	world_close(&w);
}

TEST(missing_headers_are_refused)
{
	world w;
	uint8_t caller[20];
	kms_text *fields[] = { &w.pop.signature, &w.pop.nonce, &w.pop.timestamp };
	world_open(&w);
	headers_at(&w, "1700000000");
	for (size_t i = 0; i < 3; i++) {
		kms_text was = *fields[i];
		*fields[i] = (kms_text){ NULL, 0 };
		CHECK_STATUS(KMS_ERR_POP_MISSING, check(&w, caller));
		*fields[i] = (kms_text){ "", 0 };
		CHECK_STATUS(KMS_ERR_POP_MISSING, check(&w, caller));
		*fields[i] = was;
	}
	CHECK_OK(check(&w, caller)); /* none of these attempts consumed the nonce */
	world_close(&w);
}

TEST(timestamps_are_plain_digits_within_the_window)
{
	static const struct {
		const char *stamp;
		kms_status want;
	} cases[] = {
		{ "1699999880", KMS_OK },
		{ "1700000120", KMS_OK },
		{ "001700000000000", KMS_ERR_POP_TIMESTAMP },
		{ "000001700000000", KMS_OK }, /* 15 characters; the header's text is signed as sent */
		{ "0000001700000000", KMS_ERR_POP_TIMESTAMP }, /* 16 */
		{ "1699999879", KMS_ERR_POP_TIMESTAMP },
		{ "1700000121", KMS_ERR_POP_TIMESTAMP },
		{ "0", KMS_ERR_POP_TIMESTAMP },
		{ "999999999999999", KMS_ERR_POP_TIMESTAMP },
		{ "18446744073709551615", KMS_ERR_POP_TIMESTAMP },
		{ "+1700000000", KMS_ERR_POP_TIMESTAMP },
		{ "-1700000000", KMS_ERR_POP_TIMESTAMP },
		{ " 1700000000", KMS_ERR_POP_TIMESTAMP },
		{ "1700000000 ", KMS_ERR_POP_TIMESTAMP },
		{ "1700000000.0", KMS_ERR_POP_TIMESTAMP },
		{ "1.7e9", KMS_ERR_POP_TIMESTAMP },
		{ "0x6553f100", KMS_ERR_POP_TIMESTAMP },
		{ "1700000000\xd9\xa3", KMS_ERR_POP_TIMESTAMP }, /* an Arabic digit */
	};
	world w;
	uint8_t caller[20];
	world_open(&w);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		headers_at(&w, cases[i].stamp);
		CHECK_STATUS(cases[i].want, check(&w, caller));
		CHECK(is_zero(caller) == (cases[i].want != KMS_OK));
		/* A refused timestamp leaves the nonce valid; an accepted one consumes it. */
		CHECK_STATUS(cases[i].want == KMS_OK ? KMS_ERR_POP_NONCE_USED : KMS_OK,
			     kms_nonces_consume(w.nonces, kms_text_of(w.nonce, KMS_NONCE_TEXT), MONO));
	}
	/* The clock near zero does not wrap. */
	headers_at(&w, "0");
	CHECK_OK(kms_pop_check(caller, w.nonces, &w.pop, w.node20, 5, MONO, WINDOW));
	world_close(&w);
}

TEST(nonces_must_be_ours_and_are_used_up_by_a_failure)
{
	world w;
	uint8_t caller[20];
	world_open(&w);
	headers_at(&w, "1700000000");
	w.pop.nonce.len = KMS_NONCE_TEXT - 1;
	CHECK_STATUS(KMS_ERR_POP_NONCE, check(&w, caller));
	char longer[KMS_NONCE_TEXT + 1];
	memcpy(longer, w.nonce, KMS_NONCE_TEXT);
	longer[KMS_NONCE_TEXT] = '=';
	w.pop.nonce = (kms_text){ longer, sizeof(longer) };
	CHECK_STATUS(KMS_ERR_POP_NONCE, check(&w, caller));
	w.pop.nonce = text_of("AAAAAAAAAAAAAAAAAAAAAA==");
	CHECK_STATUS(KMS_ERR_POP_NONCE, check(&w, caller));
	w.pop.nonce = (kms_text){ w.nonce, KMS_NONCE_TEXT };
	CHECK_STATUS(KMS_ERR_POP_NONCE,
		     kms_pop_check(caller, w.nonces, &w.pop, w.node20, NOW, MONO + WINDOW + 1, WINDOW));
	/* A bad signature consumes the nonce. */
	headers_at(&w, "1700000000");
	w.pop.signature = text_of("0x00");
	CHECK_STATUS(KMS_ERR_SIGNATURE, check(&w, caller));
	w.pop.signature = (kms_text){ w.signature, KMS_SIGNATURE_TEXT };
	CHECK_STATUS(KMS_ERR_POP_NONCE_USED, check(&w, caller));
	/* So does a wallet header that names another wallet. */
	headers_at(&w, "1700000000");
	w.pop.wallet = text_of("0x0000000000000000000000000000000000000001");
	CHECK_STATUS(KMS_ERR_POP_WALLET, check(&w, caller));
	w.pop.wallet = (kms_text){ NULL, 0 };
	CHECK_STATUS(KMS_ERR_POP_NONCE_USED, check(&w, caller));
	world_close(&w);
}

TEST(signatures_are_read_strictly)
{
	world w;
	uint8_t caller[20];
	char longer[KMS_SIGNATURE_TEXT + 2], low_v[KMS_SIGNATURE_TEXT];
	world_open(&w);
	headers_at(&w, "1700000000");
	memcpy(longer, w.signature, KMS_SIGNATURE_TEXT);
	longer[KMS_SIGNATURE_TEXT] = longer[KMS_SIGNATURE_TEXT + 1] = '0';
	w.pop.signature = (kms_text){ longer, sizeof(longer) };
	CHECK_STATUS(KMS_ERR_SIGNATURE, check(&w, caller));
	headers_at(&w, "1700000000");
	w.pop.signature.len--;
	CHECK_STATUS(KMS_ERR_SIGNATURE, check(&w, caller));
	/* Without 0x, and with v as 0 or 1. */
	headers_at(&w, "1700000000");
	w.pop.signature.text += 2;
	w.pop.signature.len -= 2;
	CHECK_OK(check(&w, caller));
	headers_at(&w, "1700000000");
	memcpy(low_v, w.signature, sizeof(low_v));
	low_v[KMS_SIGNATURE_TEXT - 2] = '0';
	low_v[KMS_SIGNATURE_TEXT - 1] = low_v[KMS_SIGNATURE_TEXT - 1] == 'b' ? '0' : '1';
	w.pop.signature.text = low_v;
	CHECK_OK(check(&w, caller));
	CHECK_MEM(caller, w.app20, 20);
	/* Signed for another node: it recovers another wallet. */
	uint8_t other20[20];
	memcpy(other20, w.node20, 20);
	other20[0] ^= 1;
	headers_at(&w, "1700000000");
	kms_status status = kms_pop_check(caller, w.nonces, &w.pop, other20, NOW, MONO, WINDOW);
	CHECK(status == KMS_ERR_SIGNATURE || (status == KMS_OK && memcmp(caller, w.app20, 20) != 0));
	world_close(&w);
}

TEST(a_wallet_header_must_name_the_signer)
{
	static const struct {
		const char *wallet;
		kms_status want;
	} cases[] = {
		{ "0xb6be28cc5bc07f6ea9b3a1fef6eabdba53593073", KMS_OK },
		{ "B6BE28CC5BC07F6EA9B3A1FEF6EABDBA53593073", KMS_OK },
		{ "0xb6be28cc5bc07f6ea9b3a1fef6eabdba53593074", KMS_ERR_POP_WALLET },
		{ "0xb6be28cc5bc07f6ea9b3a1fef6eabdba535930", KMS_ERR_POP_WALLET },
		{ "someone", KMS_ERR_POP_WALLET },
		{ "", KMS_ERR_POP_WALLET },
	};
	world w;
	uint8_t caller[20];
	world_open(&w);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		headers_at(&w, "1700000000");
		w.pop.wallet = text_of(cases[i].wallet);
		CHECK_STATUS(cases[i].want, check(&w, caller));
		CHECK(is_zero(caller) == (cases[i].want != KMS_OK));
	}
	world_close(&w);
}

TEST(a_response_is_bound_to_request_and_node)
{
	char response[KMS_SIGNATURE_TEXT], message[256], address[43];
	uint8_t sig[65], signer[20], own[20];
	world w;
	world_open(&w);
	headers_at(&w, "1700000000");
	kms_wallet_address(own, w.app);
	CHECK_OK(kms_response_sign(response, w.app, w.pop.signature));
	/* The text that docs/protocol.md section 4 gives, signed by the same wallet. */
	kms_address_format(address, own);
	address[42] = '\0';
	int len = snprintf(message, sizeof(message), "NovaKMS:Response:%.132s:%s", w.signature, address);
	CHECK_OK(kms_signature_parse(sig, kms_text_of(response, sizeof(response))));
	CHECK_OK(kms_message_recover(signer, kms_span_of(message, (size_t)len), sig));
	CHECK_MEM(signer, own, 20);

	kms_text signed_text = { response, sizeof(response) };
	CHECK_OK(kms_response_check(signed_text, w.pop.signature, own));
	CHECK_STATUS(KMS_ERR_SIGNATURE, kms_response_check(signed_text, w.pop.signature, w.node20));
	/* The text exactly as sent: another spelling of the same signature is another text. */
	kms_text bare = { w.signature + 2, KMS_SIGNATURE_TEXT - 2 };
	CHECK_STATUS(KMS_ERR_SIGNATURE, kms_response_check(signed_text, bare, own));
	kms_text none = { NULL, 0 }, empty = { "", 0 };
	CHECK_STATUS(KMS_ERR_SIGNATURE, kms_response_check(none, w.pop.signature, own));
	CHECK_STATUS(KMS_ERR_SIGNATURE, kms_response_check(empty, w.pop.signature, own));
	CHECK_STATUS(KMS_ERR_SIGNATURE, kms_response_check(signed_text, none, own));
	response[10] = response[10] == '0' ? '1' : '0';
	CHECK_STATUS(KMS_ERR_SIGNATURE, kms_response_check(signed_text, w.pop.signature, own));
	world_close(&w);
}

TEST(bounds_and_misuse)
{
	static const char zeros[KMS_SIGNATURE_TEXT];
	char out[KMS_SIGNATURE_TEXT], longest[133];
	uint8_t caller[20];
	world w;
	world_open(&w);
	headers_at(&w, "1700000000");
	memset(longest, 'n', sizeof(longest));
	/* Another implementation's nonce is opaque text of up to 128 characters. */
	CHECK_OK(kms_pop_sign(out, w.app, KMS_POP_APP, (kms_text){ longest, 128 }, w.node20, UINT64_MAX));
	CHECK_STATUS(KMS_ERR_RANGE,
		     kms_pop_sign(out, w.app, KMS_POP_APP, (kms_text){ longest, 129 }, w.node20, 1));
	CHECK_MEM(out, zeros, sizeof(out));
	CHECK_STATUS(KMS_ERR_RANGE, kms_pop_sign(out, w.app, KMS_POP_APP, (kms_text){ "", 0 }, w.node20, 1));
	CHECK_OK(kms_response_sign(out, w.app, (kms_text){ longest, 132 }));
	CHECK_STATUS(KMS_ERR_RANGE, kms_response_sign(out, w.app, (kms_text){ longest, 133 }));
	CHECK_STATUS(KMS_ERR_RANGE, kms_response_sign(out, w.app, (kms_text){ "", 0 }));
	CHECK_MEM(out, zeros, sizeof(out));
	CHECK_STATUS(KMS_ERR_RANGE,
		     kms_response_check(w.pop.signature, (kms_text){ longest, 133 }, w.node20));
	const uint8_t body[32] = { 0 };
	CHECK_STATUS(KMS_ERR_RANGE, kms_session_answer_sign(out, w.app, (kms_text){ longest, 133 }, body));
	CHECK_STATUS(KMS_ERR_RANGE,
		     kms_session_answer_check(w.pop.signature, (kms_text){ longest, 133 }, w.node20, body));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_response_sign(out, NULL, w.pop.signature));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_response_sign(out, w.app, (kms_text){ NULL, 0 }));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_response_check(w.pop.signature, w.pop.signature, NULL));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_pop_sign(out, NULL, KMS_POP_APP, w.pop.nonce, w.node20, 1));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_pop_sign(out, w.app, KMS_POP_APP, w.pop.nonce, NULL, 1));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_pop_check(NULL, w.nonces, &w.pop, w.node20, NOW, MONO, WINDOW));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_pop_check(caller, NULL, &w.pop, w.node20, NOW, MONO, WINDOW));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_pop_check(caller, w.nonces, NULL, w.node20, NOW, MONO, WINDOW));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_pop_check(caller, w.nonces, &w.pop, NULL, NOW, MONO, WINDOW));
	world_close(&w);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(honest_headers_name_the_caller), T(what_is_signed_here_is_accepted_there),
	  T(missing_headers_are_refused), T(timestamps_are_plain_digits_within_the_window),
	  T(nonces_must_be_ours_and_are_used_up_by_a_failure), T(signatures_are_read_strictly),
	  T(a_wallet_header_must_name_the_signer), T(a_response_is_bound_to_request_and_node),
	  T(bounds_and_misuse))
