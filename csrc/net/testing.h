/* Functions of net that only tests call. */
#ifndef KMS_NET_TESTING_H
#define KMS_NET_TESTING_H

#include "kms/address.h"

/* "public", "loopback", ...: a static string; "reserved" for an unknown number. */
const char *kms_address_class_name(kms_address_class address_class);

#endif
