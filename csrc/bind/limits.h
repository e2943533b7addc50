/* Nonces as other topics take them. */
#ifndef BIND_LIMITS_H
#define BIND_LIMITS_H

#include "bind/bind.h"
#include "kms/nonce.h"

extern const bind_type bind_nonces_type; /* kms_nonces */

#endif
