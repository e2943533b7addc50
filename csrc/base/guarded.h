/* What the core alone knows of the guarded arena (kms/secret.h has the rest). */
#ifndef KMS_BASE_GUARDED_H
#define KMS_BASE_GUARDED_H

#include "kms/kms.h"

/*
 * Whether an allocation of OpenSSL was refused on this thread since the last call: tells "no
 * room for now" from a real failure, even where OpenSSL had no memory left to say so.
 */
bool kms_guarded_starved_openssl(void);

/* Wipes the stack that calls just returned from have used, as far as 2 KiB down. */
void kms_wipe_stack(void);

#endif
