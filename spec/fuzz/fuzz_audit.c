/* The end of an audit log's file: where the next run goes on, whatever a crash has left there. */
#include "audit/audit_internal.h"
#include "kms/crypto.h"
#include "lib/fuzz.h"

const unsigned fuzz_kinds = 2;

#define LINE1                                                                                       \
	"{\"seq\":1,\"prev\":\"0000000000000000000000000000000000000000000000000000000000000000\"," \
	"\"time_ms\":1,\"event\":\"start\"}\n"

/* The line that was found is one of the file, and ends where it is said to. */
static void check_head(const audit_head *head, size_t torn, const uint8_t *data, size_t size)
{
	uint8_t hash32[32];
	size_t end = size - torn, start = end - 1;
	HOLDS(torn < size && end >= 2 && data[end - 1] == '\n' && data[end - 2] == '}');
	while (start > 0 && data[start - 1] != '\n')
		start--;
	HOLDS_OK(kms_sha256(hash32, kms_span_of(data + start, end - 1 - start)));
	HOLDS(memcmp(hash32, head->hash32, sizeof(hash32)) == 0);
	HOLDS(memcmp(data + start, "{\"seq\":", 7) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	audit_head head;
	size_t torn;
	for (int whole = 0; whole < 2; whole++) {
		kms_status status = audit_find_end(&head, &torn, kms_span_of(data, size), whole);
		HOLDS(status == KMS_OK || status == KMS_ERR_FILE_FORMAT);
		if (status != KMS_OK) {
			HOLDS(head.sequence == 0);
		} else if (head.sequence == 0) {
			/* Nothing, or the beginning of a first line. */
			HOLDS(whole && torn == size && size <= KMS_AUDIT_LINE_MAX);
			fuzz_accept(0);
		} else {
			check_head(&head, torn, data, size);
			fuzz_accept(1);
		}
	}
	return 0;
}

void fuzz_seeds(void)
{
	FUZZ_SEED("");
	FUZZ_SEED("{\"seq\":1,\"pre");
	FUZZ_SEED("{\"seq\":1~\n");
	FUZZ_SEED(LINE1);
	FUZZ_SEED(LINE1 "{\"seq\":2,\"prev\":\"00");
	FUZZ_SEED(LINE1 "{\"seq\":2,\"prev\":\"00~\n");
	FUZZ_SEED(LINE1 LINE1 "\n\n~\n");
	FUZZ_SEED("root:x:0:0:root:/root:/bin/bash\n");
	FUZZ_SEED("{\"seq\":4503599627370497,\"prev\":"
		  "\"0000000000000000000000000000000000000000000000000000000000000000\",}\n");
}
