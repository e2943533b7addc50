/* What other rooms of the core need of the guarded arena beyond kms/secret.h. */
#ifndef KMS_BASE_GUARDED_H
#define KMS_BASE_GUARDED_H

#include "kms/kms.h"

/*
 * Whether an allocation of OpenSSL was refused on this thread since the last call: tells "no
 * room for now" from a real failure, even where OpenSSL had no memory left to say so.
 */
bool kms_guarded_starved_openssl(void);

/* Wipes 2 KiB of the stack below the caller: what its calls have left there. */
void kms_wipe_stack(void);

#endif
