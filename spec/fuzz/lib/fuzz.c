/* What the fuzz targets share (fuzz.h), and libFuzzer's first call, which writes the seeds to a folder. */
#include "fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);

static fuzz_sink *seed_sink;
static uint32_t accepted; /* bits */

void fuzz_start(void)
{
	if (kms_guarded_ready()) return;
	HOLDS_OK(kms_guarded_init(KMS_GUARDED_MIN_BYTES));
	HOLDS_OK(kms_crypto_init());
}

void fuzz_seed(kms_span input)
{
	HOLDS(input.len <= FUZZ_MAX_INPUT);
	seed_sink(input);
}

void fuzz_seed_choice(uint8_t choice, kms_span rest)
{
	kms_buf input = kms_buf_make(KMS_BUF_PLAIN, FUZZ_MAX_INPUT);
	HOLDS_OK(kms_buf_append(&input, kms_span_of(&choice, 1)));
	HOLDS_OK(kms_buf_append(&input, rest));
	fuzz_seed(kms_buf_span(&input));
	kms_buf_free(&input);
}

void fuzz_each_seed(fuzz_sink *sink)
{
	seed_sink = sink;
	fuzz_seeds();
}

void fuzz_accept(unsigned kind)
{
	HOLDS(kind < fuzz_kinds && fuzz_kinds < 32);
	accepted |= UINT32_C(1) << kind;
}

bool fuzz_all_accepted(void)
{
	return accepted == (UINT32_C(1) << fuzz_kinds) - 1;
}

kms_buf fuzz_copy(kms_buf_kind kind, kms_span bytes)
{
	kms_buf copy = kms_buf_make(kind, bytes.len);
	HOLDS_OK(kms_buf_append(&copy, bytes));
	return copy;
}

bool fuzz_within(kms_span part, kms_span whole)
{
	if (!part.bytes || !part.len) return part.len == 0;
	return part.bytes >= whole.bytes && part.len <= whole.len &&
	       (size_t)(part.bytes - whole.bytes) <= whole.len - part.len;
}

/* ---- the seeds of `make fuzz` ---- */

static void write_seed(kms_span input)
{
	static unsigned number;
	char path[512];
	int len = snprintf(path, sizeof(path), "%s/seed%03u", getenv("FUZZ_SEEDS"), number++);
	HOLDS(len > 0 && (size_t)len < sizeof(path));
	FILE *file = fopen(path, "wb");
	HOLDS(file && fwrite(input.bytes, 1, input.len, file) == input.len && fclose(file) == 0);
}

/* FUZZ_SEEDS: the folder that libFuzzer reads its corpus from. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_start();
	if (getenv("FUZZ_SEEDS")) fuzz_each_seed(write_seed);
	return 0;
}
