/*
 * Where something computed from a secret becomes public: that two values are equal, that a text
 * was malformed, a public key, a signature. Branches may depend on it from there on, and only
 * from there on.
 *
 * `make ctcheck` runs the code with secrets marked as undefined (KMS_CTCHECK) and reports every
 * branch and index that depends on one; this is what ends the mark. In other builds it hides from
 * the compiler how the value came about, so that it makes no branches of the way there.
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
