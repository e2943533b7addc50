/* Documents of a test root, user_data of nodes, and failing allocations. */
#include "base/testing.h"
#include "attest_kit.h"

static const char seed_hex[] = "5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed";

static kms_attest_root *root_of(const char *hex, kms_span der)
{
	kms_attest_root *root;
	kms_secret *seed = hex_secret(hex);
	MUST(kms_attest_root_new(&root, seed, kms_span_of(der.bytes, der.len)));
	kms_secret_unref(seed);
	return root;
}

#define SPAN(literal) ((kms_span){ (const uint8_t *)(literal), sizeof(literal) - 1 })

static kms_attest_policy trusting(const kms_attest_root *root, uint8_t root32[32])
{
	kms_attest_policy policy = { 0 };
	kms_span der = kms_attest_root_der(root);
	MUST(kms_sha256(root32, der));
	policy.roots = (const uint8_t(*)[32])root32;
	policy.root_count = 1;
	policy.now_ms = KIT_NOW_MS;
	policy.allow_debug = true;
	return policy;
}

static void expect(int *failed_, const kms_buf *document, const kms_attest_policy *policy,
		   kms_attest_failure want)
{
	kms_attest_facts facts;
	kms_attest_failure failure;
	kms_status status =
	    kms_attest_verify(&facts, &failure, kms_span_of(document->data, document->len), policy);
	CHECK(failure == want);
	CHECK_STATUS(want == KMS_ATTEST_NONE ? KMS_OK : KMS_ERR_ATTEST, status);
}

TEST(a_document_has_its_claims_and_is_marked_simulated)
{
	uint8_t root32[32];
	kms_attest_facts facts;
	kms_attest_failure failure;
	kms_attest_root *root = root_of(seed_hex, (kms_span){ NULL, 0 });
	kms_attest_policy policy = trusting(root, root32);
	kms_attest_claims claims = { KIT_NOW_MS, SPAN("key"), SPAN("data"), SPAN("once"), NULL };
	DEFER(kms_buf_free) kms_buf document = kms_buf_make(KMS_BUF_PLAIN, KMS_ATTEST_MAX_DOCUMENT);
	CHECK_OK(kms_attest_make(&document, root, &claims));
	CHECK_OK(kms_attest_verify(&facts, &failure, kms_span_of(document.data, document.len), &policy));
	CHECK(facts.module_id.len == 9 && memcmp(facts.module_id.bytes, "simulated", 9) == 0);
	CHECK(facts.timestamp_ms == KIT_NOW_MS && facts.chain_len == 2);
	CHECK(strcmp(facts.chain[0].subject, "nova-kms simulated attestation root") == 0);
	CHECK(facts.chain[1].not_before_s == KIT_NOW_S - 3 &&
	      facts.chain[1].not_after_s == KIT_NOW_S + 10800);
	CHECK(facts.public_key.len == 3 && facts.user_data.len == 4 && facts.nonce.len == 4);
	for (int i = 0; i < 32; i++)
		CHECK(i < 16 ? facts.pcrs[i].len == 48 : !facts.pcrs[i].bytes);
	/* It counts as debug mode, and fails where its root is not trusted. */
	policy.allow_debug = false;
	CALL(expect, &document, &policy, KMS_ATTEST_DEBUG);
	policy.roots = &kms_attest_aws_root32;
	CALL(expect, &document, &policy, KMS_ATTEST_ROOT);
	kms_attest_root_free(root);
}

TEST(absent_claims_are_null_and_any_register_can_be_named)
{
	uint8_t root32[32];
	kms_attest_facts facts;
	kms_attest_failure failure;
	kms_attest_root *root = root_of(seed_hex, (kms_span){ NULL, 0 });
	kms_attest_policy policy = trusting(root, root32);
	kms_attest_pcrs pcrs = { .named = 0x80010003u };
	memset(pcrs.values, 0x77, sizeof(pcrs.values));
	kms_attest_claims claims = { .now_ms = KIT_NOW_MS, .pcrs = &pcrs };
	DEFER(kms_buf_free) kms_buf document = kms_buf_make(KMS_BUF_PLAIN, KMS_ATTEST_MAX_DOCUMENT);
	CHECK_OK(kms_attest_make(&document, root, &claims));
	policy.allow_debug = false;
	policy.check_pcrs = true;
	policy.images = &pcrs;
	policy.image_count = 1;
	CHECK_OK(kms_attest_verify(&facts, &failure, kms_span_of(document.data, document.len), &policy));
	CHECK(!facts.public_key.bytes && !facts.user_data.bytes && !facts.nonce.bytes);
	CHECK(facts.pcrs[2].bytes[0] == 0 && facts.pcrs[16].bytes[0] == 0x77 &&
	      facts.pcrs[31].bytes[0] == 0x77);
	CHECK(!facts.pcrs[17].bytes);
	kms_attest_root_free(root);
}

TEST(claims_are_bounded_like_fields_of_documents)
{
	static uint8_t many[1025];
	kms_attest_root *root = root_of(seed_hex, (kms_span){ NULL, 0 });
	kms_attest_claims good = { KIT_NOW_MS, { many, 1024 }, { many, 1024 }, { many, 1024 }, NULL }, bad;
	DEFER(kms_buf_free) kms_buf document = kms_buf_make(KMS_BUF_PLAIN, 2 * KMS_ATTEST_MAX_DOCUMENT);
	CHECK_OK(kms_attest_make(&document, root, &good));
	size_t len = document.len;
#define BAD(member, value)                                                         \
	bad = good;                                                                \
	bad.member = (value);                                                      \
	CHECK_STATUS(KMS_ERR_FIELD_VALUE, kms_attest_make(&document, root, &bad)); \
	CHECK(document.len == len)
	BAD(public_key.len, 1025);
	BAD(public_key.len, 0);
	BAD(user_data.len, 1025);
	BAD(nonce.len, 1025);
	BAD(now_ms, 2999);
	BAD(now_ms, UINT64_MAX);
	BAD(now_ms, 253402300799999u);
	DEFER(kms_buf_free) kms_buf small = kms_buf_make(KMS_BUF_PLAIN, 1000);
	CHECK_STATUS(KMS_ERR_TOO_LARGE, kms_attest_make(&small, root, &good));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_attest_make(NULL, root, &good));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_attest_make(&document, NULL, &good));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_attest_make(&document, root, NULL));
	kms_attest_root_free(root);
}

TEST(a_root_stays_the_same_with_its_certificate)
{
	uint8_t root32[32];
	static const char other[] = "0123012301230123012301230123012301230123012301230123012301230123";
	kms_attest_root *first = root_of(seed_hex, (kms_span){ NULL, 0 });
	kms_span der = kms_attest_root_der(first);
	kms_attest_root *again = root_of(seed_hex, der), *refused;
	kms_attest_policy policy = trusting(first, root32);
	kms_attest_claims claims = { .now_ms = KIT_NOW_MS };
	DEFER(kms_buf_free) kms_buf document = kms_buf_make(KMS_BUF_PLAIN, KMS_ATTEST_MAX_DOCUMENT);
	CHECK_OK(kms_attest_make(&document, again, &claims));
	CALL(expect, &document, &policy, KMS_ATTEST_NONE);
	/* Refused: another seed's certificate, a changed one, a cut one, an empty one. */
	kms_secret *seed = hex_secret(other), *same = hex_secret(seed_hex), *odd;
	uint8_t changed[KMS_ATTEST_MAX_CERTIFICATE];
	memcpy(changed, der.bytes, der.len);
	changed[der.len - 1] ^= 1;
	CHECK_STATUS(KMS_ERR_FILE_FORMAT,
		     kms_attest_root_new(&refused, seed, kms_span_of(der.bytes, der.len)));
	CHECK(!refused);
	CHECK_STATUS(KMS_ERR_FILE_FORMAT, kms_attest_root_new(&refused, same, kms_span_of(changed, der.len)));
	CHECK_STATUS(KMS_ERR_FILE_FORMAT,
		     kms_attest_root_new(&refused, same, kms_span_of(der.bytes, der.len - 1)));
	CHECK_STATUS(KMS_ERR_FILE_FORMAT, kms_attest_root_new(&refused, same, kms_span_of(der.bytes, 0)));
	CHECK_OK(kms_secret_random(&odd, 31));
	CHECK_STATUS(KMS_ERR_RANGE, kms_attest_root_new(&refused, odd, KMS_NO_BYTES));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_attest_root_new(NULL, same, KMS_NO_BYTES));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_attest_root_new(&refused, NULL, KMS_NO_BYTES));
	kms_secret_unref(seed);
	kms_secret_unref(same);
	kms_secret_unref(odd);
	kms_attest_root_free(first);
	kms_attest_root_free(again);
	kms_attest_root_free(NULL);
}

/* ---- user_data ------------------------------------------------------------------------------- */

#define WALLET "0x00112233445566778899aabbccddeeff00112233"
/* The first key of spec/vectors/age.json, and its first byte. */
#define RECIPIENT "age15dc3gyyccyu00lt2zwc8lk0wcylgvmt534g3r7kyykt6aykdyctq99zmly"
#define RECIPIENT_FIRST 0xa3
#define POLICY "abcdefabcdefabcdefabcdefabcdefabcdefabcdefabcdefabcdefabcdefabcd"

static kms_status read_text(kms_attest_statement *statement, const char *text)
{
	return kms_attest_statement_read(statement, kms_text_span(kms_text_from(text)));
}

TEST(statements_are_read)
{
	kms_attest_statement s;
	CHECK_OK(read_text(&s, "{\"eth_addr\":\"" WALLET "\",\"kms\":{\"v\":1,\"purpose\":\"public\"}}"));
	CHECK(s.purpose == KMS_ATTEST_PUBLIC && !s.has_policy && s.wallet20[1] == 0x11);
	CHECK_OK(read_text(&s, " { \"kms\" : {\"policy\":\"" POLICY "\",\"purpose\":\"secret\",\"v\":1}, "
			       "\"eth_addr\":\"" WALLET "\"}\n"));
	CHECK(s.purpose == KMS_ATTEST_SECRET && s.has_policy && s.policy32[31] == 0xcd);
	CHECK(!s.has_recovery && !s.has_recovery_key);
	CHECK_OK(read_text(&s, "{\"eth_addr\":\"" WALLET "\",\"kms\":{\"policy\":\"" POLICY
			       "\",\"purpose\":\"public\","
			       "\"recovery\":\"" POLICY "\",\"recovery_key\":\"" RECIPIENT "\",\"v\":1}}"));
	CHECK(s.has_policy && s.has_recovery && s.recovery32[31] == 0xcd && s.has_recovery_key);
	CHECK(s.recovery_key32[0] == RECIPIENT_FIRST);
}

TEST(statements_with_missing_or_other_members_are_refused)
{
	static const kms_attest_statement nothing;
	static const struct {
		kms_status status;
		const char *text;
	} cases[] = {
		{ KMS_ERR_JSON, "" },
		{ KMS_ERR_JSON, "\x51\x34\xf3" },
		{ KMS_ERR_FIELD_TYPE, "[]" },
		{ KMS_ERR_FIELD_TYPE, "null" },
		{ KMS_ERR_FIELD_MISSING, "{}" },
		{ KMS_ERR_FIELD_MISSING, "{\"eth_addr\":\"" WALLET "\"}" },
		{ KMS_ERR_FIELD_MISSING, "{\"kms\":{\"v\":1,\"purpose\":\"public\"}}" },
		{ KMS_ERR_FIELD_TYPE, "{\"eth_addr\":1,\"kms\":{\"v\":1,\"purpose\":\"public\"}}" },
		{ KMS_ERR_ADDRESS, "{\"eth_addr\":\"0x12\",\"kms\":{\"v\":1,\"purpose\":\"public\"}}" },
		{ KMS_ERR_FIELD_TYPE, "{\"eth_addr\":\"" WALLET "\",\"kms\":[]}" },
		{ KMS_ERR_FIELD_MISSING, "{\"eth_addr\":\"" WALLET "\",\"kms\":{\"purpose\":\"public\"}}" },
		{ KMS_ERR_FIELD_MISSING, "{\"eth_addr\":\"" WALLET "\",\"kms\":{\"v\":1}}" },
		{ KMS_ERR_FIELD_VALUE,
		  "{\"eth_addr\":\"" WALLET "\",\"kms\":{\"v\":2,\"purpose\":\"public\"}}" },
		{ KMS_ERR_FIELD_VALUE,
		  "{\"eth_addr\":\"" WALLET "\",\"kms\":{\"v\":-1,\"purpose\":\"public\"}}" },
		{ KMS_ERR_FIELD_TYPE,
		  "{\"eth_addr\":\"" WALLET "\",\"kms\":{\"v\":1.0,\"purpose\":\"public\"}}" },
		{ KMS_ERR_FIELD_TYPE,
		  "{\"eth_addr\":\"" WALLET "\",\"kms\":{\"v\":\"1\",\"purpose\":\"public\"}}" },
		{ KMS_ERR_FIELD_VALUE,
		  "{\"eth_addr\":\"" WALLET "\",\"kms\":{\"v\":1,\"purpose\":\"Secret\"}}" },
		{ KMS_ERR_FIELD_VALUE,
		  "{\"eth_addr\":\"" WALLET "\",\"kms\":{\"v\":1,\"purpose\":\"secrets\"}}" },
		{ KMS_ERR_FIELD_TYPE, "{\"eth_addr\":\"" WALLET "\",\"kms\":{\"v\":1,\"purpose\":true}}" },
		{ KMS_ERR_FIELD_VALUE, "{\"eth_addr\":\"" WALLET "\",\"kms\":{\"v\":1,\"purpose\":\"\"}}" },
		{ KMS_ERR_FIELD_VALUE,
		  "{\"eth_addr\":\"" WALLET "\",\"kms\":{\"v\":1,\"purpose\":\"secre\"}}" },
		{ KMS_ERR_FIELD_VALUE,
		  "{\"eth_addr\":\"" WALLET "\",\"kms\":{\"v\":1,\"purpose\":\"public\",\"x\":1}}" },
		{ KMS_ERR_FIELD_TYPE,
		  "{\"eth_addr\":\"" WALLET "\",\"kms\":{\"v\":1,\"purpose\":\"public\",\"recovery\":1}}" },
		{ KMS_ERR_FIELD_VALUE, "{\"eth_addr\":\"" WALLET
				       "\",\"kms\":{\"v\":1,\"purpose\":\"public\",\"recovery\":\"ab\"}}" },
		{ KMS_ERR_FIELD_TYPE, "{\"eth_addr\":\"" WALLET
				      "\",\"kms\":{\"v\":1,\"purpose\":\"public\",\"recovery_key\":{}}}" },
		{ KMS_ERR_FIELD_VALUE,
		  "{\"eth_addr\":\"" WALLET
		  "\",\"kms\":{\"v\":1,\"purpose\":\"public\",\"recovery_key\":\"age1x\"}}" },
		{ KMS_ERR_FIELD_TYPE,
		  "{\"eth_addr\":\"" WALLET "\",\"kms\":{\"v\":1,\"purpose\":\"public\",\"policy\":null}}" },
		{ KMS_ERR_FIELD_VALUE, "{\"eth_addr\":\"" WALLET
				       "\",\"kms\":{\"v\":1,\"purpose\":\"public\",\"policy\":\"ab\"}}" },
		{ KMS_ERR_FIELD_VALUE, "{\"eth_addr\":\"" WALLET "\",\"kms\":{\"v\":1,\"purpose\":\"public\","
				       "\"policy\":\"0x" POLICY "\"}}" },
		{ KMS_ERR_FIELD_VALUE, "{\"eth_addr\":\"" WALLET "\",\"kms\":{\"v\":1,\"purpose\":\"public\","
				       "\"policy\":\"" POLICY "\",\"more\":1}}" },
		{ KMS_ERR_FIELD_VALUE,
		  "{\"eth_addr\":\"" WALLET "\",\"kms\":{\"v\":1,\"purpose\":\"public\"},\"x\":1}" },
		{ KMS_ERR_JSON_DUPLICATE,
		  "{\"eth_addr\":\"" WALLET "\",\"kms\":{\"v\":1,\"purpose\":\"public\","
		  "\"purpose\":\"secret\"}}" },
		{ KMS_ERR_JSON, "{\"eth_addr\":\"" WALLET "\",\"kms\":{\"v\":1,\"purpose\":\"public\"}}x" },
	};
	char text[1026];
	kms_attest_statement s;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		memset(&s, 1, sizeof(s));
		CHECK_STATUS(cases[i].status, read_text(&s, cases[i].text));
		CHECK_MEM(&s, &nothing, sizeof(s));
	}
	snprintf(text, sizeof(text), "%1024s",
		 "{\"eth_addr\":\"" WALLET "\",\"kms\":{\"v\":1,\"purpose\":\"public\"}}");
	CHECK_OK(read_text(&s, text));
	CHECK_STATUS(KMS_ERR_TOO_LARGE, kms_attest_statement_read(&s, kms_span_of(text, 1025)));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_attest_statement_read(&s, kms_span_of(NULL, 1)));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_attest_statement_read(NULL, KMS_NO_BYTES));
}

/* ---- memory ----------------------------------------------------------------------------------- */

/* Every one of the first 100 allocations, then fewer and fewer: a verification makes thousands. */
static unsigned long next(unsigned long n)
{
	return n < 100 ? n + 1 : n + 1 + n / 31;
}

TEST(without_memory_nothing_passes_and_no_check_fails)
{
	static doc d;
	kms_attest_facts facts;
	kms_attest_failure failure;
	unsigned long refused = 0;
	honest(&d, 3);
	kms_attest_policy policy = lenient(&d);
	CHECK_OK(kms_attest_verify(&facts, &failure, out_of(&d), &policy));
	size_t before = kms_guarded_used();
	for (unsigned long n = 1;; n = next(n)) {
		kms_mem_fail_after(n);
		kms_status status = kms_attest_verify(&facts, &failure, out_of(&d), &policy);
		bool ends = sweep_ends(n);
		if (ends) CHECK_OK(status);
		if (ends) break;
		CHECK(failure == KMS_ATTEST_NONE);
		CHECK(status == KMS_ERR_LOCKED_MEMORY || status == KMS_ERR_MEMORY);
		CHECK(kms_guarded_used() <= before + 16384); /* error queue and caches, which do not grow */
		refused++;
	}
	CHECK(refused > 150);
	EXPECT(&d, &policy, NONE);
	for (unsigned long n = 1;; n = next(n)) {
		kms_mem_fail_after(n);
		kms_status status = kms_attest_read(&facts, &failure, out_of(&d));
		bool readable = facts.chain[0].readable && facts.chain[1].readable && facts.chain[2].readable;
		bool ends = sweep_ends(n);
		CHECK(failure == KMS_ATTEST_NONE);
		CHECK(status == KMS_OK ? readable : status == KMS_ERR_LOCKED_MEMORY);
		if (ends) break;
	}
}

/* A bad document fails the same check, or none. */
TEST(without_memory_no_other_check_fails)
{
	static doc d;
	kms_attest_facts facts;
	kms_attest_failure failure;
	honest(&d, 2);
	d.signature.data[50] ^= 1;
	d.resign = false;
	assemble(&d);
	kms_attest_policy policy = lenient(&d);
	EXPECT(&d, &policy, SIGNATURE);
	for (unsigned long n = 1;; n = next(n)) {
		kms_mem_fail_after(n);
		kms_status status = kms_attest_verify(&facts, &failure, out_of(&d), &policy);
		bool ends = sweep_ends(n);
		CHECK(status == KMS_ERR_ATTEST ? failure == KMS_ATTEST_SIGNATURE
					       : failure == KMS_ATTEST_NONE);
		CHECK(status == KMS_ERR_ATTEST || status == KMS_ERR_LOCKED_MEMORY ||
		      status == KMS_ERR_MEMORY);
		if (ends) break;
	}
}

TEST(without_memory_nothing_is_made)
{
	kms_secret *seed = hex_secret(seed_hex);
	kms_attest_root *root;
	kms_attest_claims claims = { .now_ms = KIT_NOW_MS };
	CHECK_OK(kms_attest_root_new(&root, seed, KMS_NO_BYTES));
	kms_attest_root_free(root);
	size_t before = kms_guarded_used();
	for (unsigned long n = 1;; n = next(n)) {
		kms_mem_fail_after(n);
		kms_status status = kms_attest_root_new(&root, seed, KMS_NO_BYTES);
		bool ends = sweep_ends(n);
		CHECK((status == KMS_OK) == (root != NULL));
		kms_attest_root_free(root);
		CHECK(kms_guarded_used() <= before + 16384); /* error queue and caches, which do not grow */
		if (ends) break;
	}
	CHECK_OK(kms_attest_root_new(&root, seed, KMS_NO_BYTES));
	for (unsigned long n = 1;; n = next(n)) {
		DEFER(kms_buf_free) kms_buf document = kms_buf_make(KMS_BUF_PLAIN, KMS_ATTEST_MAX_DOCUMENT);
		kms_mem_fail_after(n);
		kms_status status = kms_attest_make(&document, root, &claims);
		bool ends = sweep_ends(n);
		CHECK(status == KMS_OK || document.len == 0);
		if (ends) CHECK_OK(status);
		if (ends) break;
	}
	kms_attest_root_free(root);
	kms_secret_unref(seed);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(a_document_has_its_claims_and_is_marked_simulated),
	  T(absent_claims_are_null_and_any_register_can_be_named),
	  T(claims_are_bounded_like_fields_of_documents), T(a_root_stays_the_same_with_its_certificate),
	  T(statements_are_read), T(statements_with_missing_or_other_members_are_refused),
	  T(without_memory_nothing_passes_and_no_check_fails), T(without_memory_no_other_check_fails),
	  T(without_memory_nothing_is_made))
