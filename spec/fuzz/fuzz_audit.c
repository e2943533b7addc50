/* The end of an audit log's file: where the next run goes on, whatever a crash has left there. */
#include <sys/mman.h>
#include <unistd.h>

#include "audit/audit_internal.h"
#include "kms/crypto.h"
#include "lib/fuzz.h"

const unsigned fuzz_kinds = 2;

enum { GAP = 66000 };

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

/* Looks at a file of these bytes. */
static void check_file(const uint8_t *data, size_t size)
{
	audit_head head;
	size_t torn;
	int fd = memfd_create("audit", MFD_CLOEXEC);
	HOLDS(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	kms_status status = audit_find_end(&head, &torn, fd, size);
	HOLDS(close(fd) == 0);
	HOLDS(status == KMS_OK || status == KMS_ERR_FILE_FORMAT);
	if (status != KMS_OK) {
		HOLDS(head.sequence == 0);
	} else if (head.sequence == 0) {
		/* Nothing, or the beginning of a first line. */
		HOLDS(torn == size);
		fuzz_accept(0);
	} else {
		check_head(&head, torn, data, size);
		fuzz_accept(1);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check_file(data, size);
	/* One in sixteen also read in pieces, which takes long: with NUL bytes in the middle. */
	static uint8_t wide[GAP + 65536];
	if (size > 65536 || size % 16) return 0;
	memcpy(wide, data, size / 2);
	memset(wide + size / 2, 0, GAP);
	memcpy(wide + size / 2 + GAP, data + size / 2, size - size / 2);
	check_file(wide, size + GAP);
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
