/*
 * How the hash tree follows the store's changes: late. A write only marks its namespace, and a record that
 * leaves while the tree has it waits, without its value, until the tree has let go of it. Whoever reads the
 * tree has it catch up first.
 */
#ifndef KMS_STORE_STORE_TREE_FOLLOW_H
#define KMS_STORE_STORE_TREE_FOLLOW_H

#include "store/store_internal.h"

#define KMS_TREE_FOLLOW_STEP 128 /* records that are put in under one lock: a fraction of a millisecond */

/* ---- the namespace is locked ---- */

/* A record was added. */
void kms_tree_mark(store_namespace *ns);
/* Frees a record that is in no index of its namespace any more, now or when the tree has let go of it. */
void kms_tree_let_go(store_namespace *ns, store_record *record);
/* A record leaves before its time: its hour is not named any more. */
void kms_tree_forget_hour(store_tree *tree, const store_record *record);
/* Has the tree catch up with some changes of the namespace; false: it has all. Without memory the tree is
 * emptied. */
bool kms_tree_follow_some(store_namespace *ns);

/* ---- no lock ---- */

/* Has the tree, if it is built, catch up with what was changed before the call, in `*steps` steps at most,
 * which it counts down; false: more is left. */
bool kms_tree_follow(size_t *steps, kms_store *store);

#endif
