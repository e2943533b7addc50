/*
 * The least that moving a store to another process costs: each byte copied, encrypted (AES-256-GCM), sent
 * over loopback TCP to another thread, and decrypted there. bench_transfer BYTES prints milliseconds.
 */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/ensure.h"
#include "base/mem.h"
#include "kms/codec.h"
#include "kms/crypto.h"
#include "lib/measure.h"

#define PIECE (1u << 20)
#define TAG 16u
#define MOST (1ull << 34)

static const uint8_t key[32] = { 7 }, iv[12] = { 9 };

typedef struct transfer {
	int listener;
	size_t pieces;
	kms_status status; /* the receiver's */
} transfer;

/* Buffers of one side. */
typedef struct side {
	uint8_t *store;
	uint8_t *plain;
	uint8_t *sealed;
} side;

static void side_free(side *s)
{
	kms_heap_free(s->store);
	kms_heap_free(s->plain);
	kms_heap_free(s->sealed);
}

static kms_status side_make(side *s)
{
	s->store = kms_heap_alloc(1, PIECE);
	s->plain = kms_heap_alloc(1, PIECE);
	s->sealed = kms_heap_alloc(1, PIECE + TAG);
	ENSURE(s->store && s->plain && s->sealed, KMS_ERR_MEMORY);
	return KMS_OK;
}

static void fd_close(int *fd)
{
	if (*fd >= 0) (void)close(*fd);
}

static kms_status send_all(int fd, const uint8_t *at, size_t len)
{
	while (len > 0) {
		ssize_t sent = send(fd, at, len, MSG_NOSIGNAL);
		ENSURE(sent > 0, KMS_ERR_SYSTEM);
		at += sent;
		len -= (size_t)sent;
	}
	return KMS_OK;
}

static kms_status receive_pieces(const transfer *t)
{
	DEFER(side_free) side s = { NULL, NULL, NULL };
	GUARD(side_make(&s));
	DEFER(fd_close) int fd = accept(t->listener, NULL, NULL);
	ENSURE(fd >= 0, KMS_ERR_SYSTEM);
	for (size_t i = 0; i < t->pieces; i++) {
		ENSURE(recv(fd, s.sealed, PIECE + TAG, MSG_WAITALL) == (ssize_t)(PIECE + TAG),
		       KMS_ERR_SYSTEM);
		GUARD(kms_gcm_open(s.plain, key, iv, kms_span_of(s.sealed, PIECE + TAG)));
		memcpy(s.store, s.plain, PIECE);
	}
	return KMS_OK;
}

static void *receiver(void *context)
{
	transfer *t = context;
	t->status = receive_pieces(t);
	return NULL;
}

static kms_status send_pieces(const transfer *t)
{
	struct sockaddr_in address;
	socklen_t len = sizeof(address);
	DEFER(side_free) side s = { NULL, NULL, NULL };
	GUARD(side_make(&s));
	DEFER(fd_close) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ENSURE(fd >= 0 && getsockname(t->listener, (struct sockaddr *)&address, &len) == 0, KMS_ERR_SYSTEM);
	ENSURE(connect(fd, (struct sockaddr *)&address, len) == 0, KMS_ERR_CONNECT);
	for (size_t i = 0; i < t->pieces; i++) {
		memcpy(s.plain, s.store, PIECE);
		GUARD(kms_gcm_seal(s.sealed, key, iv, kms_span_of(s.plain, PIECE)));
		GUARD(send_all(fd, s.sealed, PIECE + TAG));
	}
	return KMS_OK;
}

static kms_status run(double *ms, size_t bytes)
{
	pthread_t thread;
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	DEFER(fd_close) int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ENSURE(listener >= 0 && bind(listener, (struct sockaddr *)&address, sizeof(address)) == 0 &&
		   listen(listener, 1) == 0,
	       KMS_ERR_SYSTEM);
	transfer t = { .listener = listener, .pieces = (bytes + PIECE - 1) / PIECE };
	uint64_t begun = bench_wall_ns();
	ENSURE(pthread_create(&thread, NULL, receiver, &t) == 0, KMS_ERR_SYSTEM);
	kms_status status = send_pieces(&t);
	if (status != KMS_OK)
		(void)shutdown(listener, SHUT_RDWR); /* the receiver may still wait for a connection */
	(void)pthread_join(thread, NULL);
	*ms = (double)(bench_wall_ns() - begun) / 1e6;
	return status == KMS_OK ? t.status : status;
}

int main(int argc, char **argv)
{
	double ms = 0;
	uint64_t bytes = 0;
	if (argc != 2 || kms_decimal_parse(&bytes, kms_text_from(argv[1])) != KMS_OK || bytes > MOST) {
		fprintf(stderr, "usage: bench_transfer BYTES\n");
		return 2;
	}
	if (!bench_begin()) return 1;
	kms_status status = run(&ms, bytes);
	if (status != KMS_OK) {
		(void)bench_failed("transfer", status);
		return 1;
	}
	printf("%.1f\n", ms);
	return 0;
}
