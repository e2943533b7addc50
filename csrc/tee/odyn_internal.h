/* What the files about the Odyn service's bodies share. */
#ifndef KMS_TEE_ODYN_INTERNAL_H
#define KMS_TEE_ODYN_INTERNAL_H

#include "kms/buf.h"
#include "kms/view.h"

/* ERR_TEE for what is wrong with a response; a shortage of this process keeps its own status. */
kms_status kms_odyn_blame(kms_status status);

/* Gives the memory of the response to `out`, with `text`, a part of it, moved to the start; wipes the rest.
 */
void kms_odyn_adopt(kms_buf *out, kms_buf *response, kms_text text);

#endif
