/*
 * Mutated documents: none may crash the verifier, and none may be accepted unless its payload and
 * signature are unchanged. FUZZ_RUNS sets how many (default 20 000), FUZZ_SEED the seed (`make
 * fuzz-attest`). KMS_ATTESTATION_SAMPLE may name a real document (.ci/run), which is mutated too.
 */
#include <sys/stat.h>

#include "attest_kit.h"

#define RUNS 20000
#define REAL_TIME_MS 1760583282550u

static uint64_t state;

/* SplitMix64; the same seed repeats a run. */
static uint64_t draw(uint64_t below)
{
	uint64_t z = state += 0x9e3779b97f4a7c15u;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return (z ^ z >> 31) % below;
}

static uint64_t setting(const char *name, uint64_t fallback)
{
	const char *text = getenv(name);
	return text && *text ? strtoull(text, NULL, 10) : fallback;
}

/* Bytes that are special to CBOR and DER: heads of every type, edge lengths. */
static const uint8_t odd[] = { 0x00, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1f, 0x38, 0x40, 0x58, 0x59, 0x5a, 0x5b,
			       0x5f, 0x60, 0x78, 0x7f, 0x80, 0x84, 0x9f, 0xa0, 0xb9, 0xbf, 0xc0, 0xd2, 0xf6,
			       0xf7, 0xfb, 0xff, 0x30, 0x82, 0x02, 0x03, 0x04, 0x06, 0x31, 0xfe, 0x7f };

/* A position, sometimes one of the first heads: most other bytes are content. */
static size_t place(const bytes *document)
{
	static const size_t heads[] = { 0, 1, 2, 5, 6, 7, 8, 9, 10, 11 };
	if (draw(8) == 0) return heads[draw(sizeof(heads) / sizeof(heads[0]))] % document->len;
	return (size_t)draw(document->len);
}

static void cut(bytes *document, size_t at, size_t len)
{
	if (len > document->len - at) len = document->len - at;
	memmove(document->data + at, document->data + at + len, document->len - at - len);
	document->len -= len;
}

static void insert(bytes *document, size_t at, const uint8_t *added, size_t len)
{
	if (document->len + len > sizeof(document->data)) return;
	memmove(document->data + at + len, document->data + at, document->len - at);
	memcpy(document->data + at, added, len);
	document->len += len;
}

static void mutate_once(bytes *document)
{
	uint8_t added[64];
	if (document->len == 0) {
		put(document, odd + draw(sizeof(odd)), 1);
		return;
	}
	size_t at = place(document), len = 1 + (size_t)draw(sizeof(added));
	switch (draw(10)) {
	case 0:
	case 1:
		document->data[at] ^= (uint8_t)(1u << draw(8));
		break;
	case 2:
		document->data[at] = odd[draw(sizeof(odd))];
		break;
	case 3:
		document->data[at] = (uint8_t)draw(256);
		break;
	case 4:
		cut(document, at, len);
		break;
	case 5:
		document->len = at;
		break;
	case 6:
		insert(document, at, &odd[draw(sizeof(odd))], 1);
		break;
	case 7: /* repeat a piece */
		if (len > document->len - at) len = document->len - at;
		memcpy(added, document->data + at, len);
		insert(document, (size_t)draw(document->len), added, len);
		break;
	case 8: /* one more or one less: lengths */
		document->data[at] = (uint8_t)(document->data[at] + (draw(2) ? 1 : -1));
		break;
	default: /* copy a piece over another */
		if (len > document->len - at) len = document->len - at;
		memcpy(added, document->data + at, len);
		at = (size_t)draw(document->len);
		if (len > document->len - at) len = document->len - at;
		memcpy(document->data + at, added, len);
		break;
	}
}

typedef struct origin {
	bytes document;
	kms_attest_policy policy;
	kms_attest_facts facts; /* of `document` */
} origin;

/* Whether an accepted mutant has the payload and the signature of its origin. */
static bool is_same(const origin *from, const kms_attest_facts *facts)
{
	return facts->payload.len == from->facts.payload.len &&
	       memcmp(facts->payload.bytes, from->facts.payload.bytes, facts->payload.len) == 0 &&
	       memcmp(facts->signature96.bytes, from->facts.signature96.bytes, 96) == 0;
}

static size_t counts[KMS_ATTEST_PUBLIC_KEY + 1];

static void attack(int *failed_, const origin *from)
{
	static bytes mutant;
	kms_attest_facts facts;
	kms_attest_failure failure;
	mutant = from->document;
	for (uint64_t n = 1 + draw(3); n; n--)
		mutate_once(&mutant);
	/* In a block of the exact size, so that a sanitizer sees a read beyond the end. */
	uint8_t *exact = malloc(mutant.len ? mutant.len : 1);
	CHECK(exact);
	memcpy(exact, mutant.data, mutant.len);
	kms_status status =
	    kms_attest_verify(&facts, &failure, kms_span_of(exact, mutant.len), &from->policy);
	bool fine =
	    status == KMS_OK ? is_same(from, &facts) : status == KMS_ERR_ATTEST && failure != KMS_ATTEST_NONE;
	counts[failure]++;
	kms_attest_facts read;
	if (fine && draw(16) == 0) {
		status = kms_attest_read(&read, &failure, kms_span_of(exact, mutant.len));
		fine = status == KMS_OK || (status == KMS_ERR_ATTEST && failure == KMS_ATTEST_SHAPE);
	}
	free(exact);
	CHECK(fine);
}

static void start(int *failed_, origin *from)
{
	kms_attest_failure failure;
	from->policy.max_age_ms = KMS_ATTEST_ANY_AGE;
	from->policy.allow_debug = true;
	CHECK_OK(kms_attest_verify(&from->facts, &failure,
				   kms_span_of(from->document.data, from->document.len), &from->policy));
}

static bool load_real(bytes *document)
{
	const char *path = getenv("KMS_ATTESTATION_SAMPLE");
	FILE *file = path && *path ? fopen(path, "rb") : NULL;
	if (!file) return false;
	document->len = fread(document->data, 1, sizeof(document->data), file);
	fclose(file);
	return true;
}

TEST(no_mutated_document_is_accepted)
{
	static doc d;
	static origin from[3];
	size_t origins = 2;
	uint64_t runs = setting("FUZZ_RUNS", RUNS);
	state = setting("FUZZ_SEED", 1);
	honest(&d, 2);
	from[0] = (origin){ .document = d.out, .policy = lenient(&d) };
	d.indefinite = true;
	assemble(&d);
	from[1] = (origin){ .document = d.out, .policy = lenient(&d) };
	if (load_real(&from[2].document)) {
		from[2].policy.roots = &kms_attest_aws_root32;
		from[2].policy.root_count = 1;
		from[2].policy.now_ms = REAL_TIME_MS;
		origins = 3;
	}
	for (size_t i = 0; i < origins; i++)
		CALL(start, &from[i]);
	for (uint64_t i = 0; i < runs; i++) {
		uint64_t before = state;
		attack(failed_, &from[i % origins]);
		if (*failed_)
			fprintf(stderr, "at run %llu, state %llx\n", (unsigned long long)i,
				(unsigned long long)before);
		if (*failed_) return;
	}
	/* Enough mutants have reached the later checks. */
	CHECK(counts[KMS_ATTEST_SHAPE] > runs / 4 && counts[KMS_ATTEST_ROOT] > runs / 200);
	CHECK(counts[KMS_ATTEST_CHAIN] > runs / 200 && counts[KMS_ATTEST_SIGNATURE] > runs / 200);
	fprintf(stderr, "%llu mutants:", (unsigned long long)runs);
	for (int i = 0; i <= KMS_ATTEST_PUBLIC_KEY; i++)
		if (counts[i])
			fprintf(stderr, " %s %zu", kms_attest_failure_name((kms_attest_failure)i), counts[i]);
	fprintf(stderr, "\n");
}

/* The payload is signed again after its mutation, so that only the parser can refuse it. */
TEST(mutated_and_signed_payloads_are_read_without_harm)
{
	static doc d;
	static bytes payload;
	kms_attest_facts facts;
	kms_attest_failure failure;
	size_t accepted = 0;
	state = setting("FUZZ_SEED", 1) + 1;
	honest(&d, 2);
	kms_attest_policy policy = lenient(&d);
	policy.max_ahead_ms = UINT64_MAX;
	payload = d.payload;
	uint64_t runs = setting("FUZZ_RUNS", RUNS) / 20;
	for (uint64_t i = 0; i < runs; i++) {
		d.payload = payload;
		mutate_once(&d.payload);
		build_signature(&d);
		d.out.len = 0;
		PUT(&d.out, "\x84\x44\xa1\x01\x38\x22\xa0");
		put_bytes(&d.out, d.payload.data, d.payload.len);
		put(&d.out, d.signature.data, d.signature.len);
		kms_status status = kms_attest_verify(&facts, &failure, out_of(&d), &policy);
		CHECK(status == KMS_OK || status == KMS_ERR_ATTEST);
		/* What is accepted is well formed. */
		if (status != KMS_OK) continue;
		accepted++;
		CHECK(facts.chain_len == 2 && facts.chain[0].readable && facts.chain[1].readable);
		CHECK(facts.module_id.len > 0 && facts.pcrs[0].len == 48 && facts.digest.len == 6);
	}
	CHECK(accepted >= runs / 64);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(no_mutated_document_is_accepted),
	  T(mutated_and_signed_payloads_are_read_without_harm))
