/* What the files of csrc/process share. */
#ifndef KMS_PROCESS_PROCESS_INTERNAL_H
#define KMS_PROCESS_PROCESS_INTERNAL_H

/*
 * Makes the system calls of io_uring fail with ENOSYS, in this thread and those that it starts, if the kernel
 * has seccomp filters. Needs no_new_privs.
 */
void kms_process_refuse_rings(void);

#endif
