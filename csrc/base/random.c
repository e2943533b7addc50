#include <errno.h>
#include <sys/random.h>

#include "base/ensure.h"
#include "kms/crypto.h"

kms_status kms_random(uint8_t *bytes, size_t len)
{
	ENSURE(bytes || len == 0, KMS_ERR_ARGUMENT);
	for (size_t done = 0; done < len;) {
		ssize_t got = getrandom(bytes + done, len - done, 0);
		if (got < 0 && errno == EINTR) continue;
		if (got <= 0) {
			kms_wipe(bytes, len);
			return KMS_ERR_SYSTEM;
		}
		done += (size_t)got;
	}
	return KMS_OK;
}
