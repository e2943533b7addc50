#include <errno.h>
#include <sys/random.h>

#include "base/ensure.h"
#include "kms/secret.h"

kms_status kms_random(kms_out bytes)
{
	ENSURE(bytes.bytes || bytes.len == 0, KMS_ERR_ARGUMENT);
	for (size_t done = 0; done < bytes.len;) {
		ssize_t got = getrandom(bytes.bytes + done, bytes.len - done, 0);
		if (got < 0 && errno == EINTR) continue;
		if (got <= 0) {
			kms_wipe(bytes.bytes, bytes.len);
			return KMS_ERR_SYSTEM;
		}
		done += (size_t)got;
	}
	return KMS_OK;
}
