/* Sets of custodians and their proofs, as several topics take them. */
#ifndef BIND_RECOVERY_H
#define BIND_RECOVERY_H

#include "bind/bind.h"
#include "kms/share.h"

/* The set { id (32 bytes), threshold, count } at `arg` (may throw). */
kms_share_set bind_arg_share_set(lua_State *L, int arg);

/* The proof of a rehearsal: what the secret part of a share makes of a text. */
kms_status bind_recovery_proof(uint8_t proof32[32], const kms_secret *y32, kms_text text);

/* A share: its public part, its secret part, and all of it as it was read (kms.share). */
typedef struct bind_share {
	kms_share_head head;
	kms_secret *y32;
	kms_buf bytes; /* guarded */
} bind_share;

extern const bind_type bind_share_type;

/* Reads a share. Returns: as kms_share_read; ERR_MEMORY. Out: share - unchanged on failure. */
kms_status bind_share_read(bind_share **share, kms_span bytes);

#endif
