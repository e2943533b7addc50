/* Wiping and comparing secrets, opaque to optimisers. */
#include <string.h>

#include "base/declassify.h"
#include "base/guarded.h"
#include "kms/secret.h"

void kms_wipe(void *memory, size_t size)
{
	if (!memory || size == 0) return;
	memset(memory, 0, size);
	/* Claims to read the memory, so that the stores above are not dead. */
	__asm__ __volatile__("" : : "r"(memory) : "memory");
}

__attribute__((noinline)) void kms_wipe_stack(void)
{
	uint8_t used[2048];
	kms_wipe(used, sizeof(used));
}

bool kms_equal_ct(const void *a, const void *b, size_t len)
{
	const uint8_t *x = a, *y = b;
	uint8_t different = 0;
	for (size_t i = 0; i < len; i++) {
		different |= x[i] ^ y[i];
		/* Hides the value: no early exit once a difference is certain. */
		__asm__("" : "+r"(different));
	}
	KMS_DECLASSIFY(different);
	return different == 0;
}
