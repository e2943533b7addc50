/* Start-up, clocks and limits of the process (process.c); its role. */
#ifndef BIND_PROCESS_H
#define BIND_PROCESS_H

#include <stdbool.h>

/*
 * A process is a node, or stands in for a TEE service (development): only the latter may see
 * plaintext in Lua. False where it is the other one already.
 */
typedef enum bind_role { BIND_ROLE_NODE = 1, BIND_ROLE_FAKE = 2 } bind_role;
bool bind_claim_role(bind_role role);

#endif
