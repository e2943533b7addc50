/*
 * Marks where something computed from a secret becomes public: that two values are equal, that a
 * text is malformed, a public key, a signature. Only from there on may branches depend on it.
 *
 * `make ctcheck` runs the code with secrets marked as undefined (KMS_CTCHECK) and reports every
 * branch and index that depends on one; these macros end the mark. In other builds they hide from
 * the compiler how the value was computed, so that it does not add branches there.
 */
#ifndef KMS_BASE_DECLASSIFY_H
#define KMS_BASE_DECLASSIFY_H

#ifdef KMS_CTCHECK
#include <valgrind/memcheck.h>
#define KMS_DECLASSIFY_BYTES(memory, len) ((void)VALGRIND_MAKE_MEM_DEFINED((memory), (len)))
#else
#define KMS_DECLASSIFY_BYTES(memory, len) ((void)(memory), (void)(len))
#endif

/* An integer variable. */
#define KMS_DECLASSIFY(variable)                                     \
	do {                                                         \
		__asm__ __volatile__("" : "+r"(variable));           \
		KMS_DECLASSIFY_BYTES(&(variable), sizeof(variable)); \
	} while (0)

#endif
