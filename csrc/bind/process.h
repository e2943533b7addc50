/* Start-up, clocks and limits of the process (process.c); its role. */
#ifndef BIND_PROCESS_H
#define BIND_PROCESS_H

#include <stdbool.h>

/*
 * A process is a node, or a fake of a TEE service (development), which may see plaintext in Lua. Claims a
 * role for the rest of the process's life; false when it has the other one.
 */
typedef enum bind_role { BIND_ROLE_NODE = 1, BIND_ROLE_FAKE = 2 } bind_role;
bool bind_claim_role(bind_role role);

#endif
