/* What spec/ct/check.c runs: operations of ours on hidden secrets. */
#ifndef KMS_SPEC_CT_CHECK_H
#define KMS_SPEC_CT_CHECK_H

#include <stdbool.h>
#include <stddef.h>

typedef struct ct_case {
	const char *name;
	void (*run)(void);
} ct_case;

/* Each list ends with an empty entry. */
extern const ct_case ct_codecs[];     /* texts and comparisons of secrets */
extern const ct_case ct_primitives[]; /* keys, ECDH, derivation, encryption, MACs */
extern const ct_case ct_flows[];      /* what a node does with them */
extern const ct_case ct_sessions[];   /* sessions, from both sides */
extern const ct_case ct_recovery[];   /* shares of the master secret, age files */

/* Whether what getrandom gives is hidden from now on; false again after each case. */
void ct_hide_random(bool hidden);

#endif
