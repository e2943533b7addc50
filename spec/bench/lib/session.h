/* Load in a session (docs/protocol.md section 15): the same operations as in requests of their own. */
#ifndef KMS_BENCH_SESSION_H
#define KMS_BENCH_SESSION_H

#include "rounds.h"

/*
 * Opens a session, and measures openings and messages: one derivation, 64 of them, writes and reads of 1 KiB.
 * Checks a sample of the answers. Prints a table beside the targets.
 */
kms_status session_bench(load *l);

#endif
