/* Members of a canonical JSON object; the caller appends them in the order of their names. */
#ifndef KMS_PROTOCOL_MEMBERS_INTERNAL_H
#define KMS_PROTOCOL_MEMBERS_INTERNAL_H

#include "kms/buf.h"

/* Appends the name and a colon, after a comma unless the buffer ends with the object's "{". */
kms_status kms_member_begin(kms_buf *json, const char *name);
kms_status kms_member_text(kms_buf *json, const char *name, kms_text text);
kms_status kms_member_number(kms_buf *json, const char *name, uint64_t number);
kms_status kms_member_base64(kms_buf *json, const char *name, kms_span bytes);

#endif
