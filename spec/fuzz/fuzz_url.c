/* Percent-escapes and query parameters: views stay inside the input, decoding never makes it longer. */
#include "lib/fuzz.h"
#include "net/http.h"

const unsigned fuzz_kinds = 2;

static void check_query(kms_text whole)
{
	kms_text query = whole, value;
	size_t parameters = 0;
	while (kms_http_query_next(&value, &query, KMS_TEXT("key"))) {
		HOLDS(fuzz_within(kms_text_span(value), kms_text_span(whole)));
		HOLDS(fuzz_within(kms_text_span(query), kms_text_span(whole)));
		fuzz_accept(1);
		HOLDS(++parameters <= whole.len);
	}
	HOLDS(value.len == 0);
}

static void check_decode(kms_text text, bool plus_is_space)
{
	size_t len, in_place;
	uint8_t *bytes = malloc(text.len + 1);
	kms_buf copy = fuzz_copy(KMS_BUF_PLAIN, kms_text_span(text));
	HOLDS(bytes);
	kms_status status = kms_http_decode(bytes, &len, text, plus_is_space);
	HOLDS(status == KMS_OK || status == KMS_ERR_HEX);
	if (len) fuzz_accept(0);
	HOLDS(len <= text.len && (status == KMS_OK || len == 0));
	if (text.len) {
		HOLDS(kms_http_decode(copy.data, &in_place, kms_buf_text(&copy), plus_is_space) == status);
		HOLDS(in_place == len && memcmp(copy.data, bytes, len) == 0);
	}
	kms_buf_free(&copy);
	free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	kms_text text = kms_text_of((const char *)data, size);
	check_decode(text, false);
	check_decode(text, true);
	check_query(text);
	return 0;
}

void fuzz_seeds(void)
{
	FUZZ_SEED("");
	FUZZ_SEED("key=a%20b+c&key&other=1&key=");
	FUZZ_SEED("&&=&key==&k%65y=1");
	FUZZ_SEED("%");
	FUZZ_SEED("%4");
	FUZZ_SEED("%zz%00");
}
