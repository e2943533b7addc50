/* Messages to a supervisor: real datagram sockets, paths and abstract names, also from a confined process. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kms/process.h"
#include "test.h"

#define PATH_BYTES sizeof(((struct sockaddr_un *)NULL)->sun_path)

/* A supervisor that listens at `name`; `abstract` without the NUL that ends a path. */
static int listen_at(const char *name, size_t len, bool abstract)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	memcpy(address.sun_path, name, len);
	if (abstract) address.sun_path[0] = '\0';
	socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + !abstract);
	if (bind(fd, (const struct sockaddr *)&address, size) == 0) return fd;
	(void)close(fd);
	return -1;
}

static bool heard(int fd, const char *message)
{
	char got[64];
	ssize_t len = recv(fd, got, sizeof(got), 0);
	return len == (ssize_t)strlen(message) && memcmp(got, message, (size_t)len) == 0;
}

static kms_status notify(const char *name, const char *message)
{
	return kms_process_notify(kms_text_from(name), kms_text_from(message));
}

/* A path of exactly `len` bytes in /tmp that is this process's own. */
static const char *path_of(size_t len)
{
	static char path[PATH_BYTES + 2];
	memset(path, 'p', sizeof(path));
	int start = snprintf(path, sizeof(path), "/tmp/nova-kms-notify-%d-", (int)getpid());
	path[start] = 'p';
	path[len] = '\0';
	return path;
}

TEST(a_message_reaches_a_path_of_any_length_that_fits)
{
	const size_t lengths[] = { 60, PATH_BYTES - 1 };
	for (size_t i = 0; i < 2; i++) {
		const char *path = path_of(lengths[i]);
		int fd = listen_at(path, strlen(path), false);
		CHECK(fd >= 0);
		CHECK(notify(path, "READY=1") == KMS_OK);
		CHECK(heard(fd, "READY=1"));
		(void)unlink(path);
		(void)close(fd);
	}
	CHECK(notify(path_of(PATH_BYTES), "READY=1") == KMS_ERR_RANGE);
}

TEST(a_message_reaches_an_abstract_name_of_any_length_that_fits)
{
	const size_t lengths[] = { 30, PATH_BYTES };
	char name[PATH_BYTES + 2];
	for (size_t i = 0; i < 2; i++) {
		memset(name, 'n', sizeof(name));
		int start = snprintf(name, sizeof(name), "@nova-kms-%d-", (int)getpid());
		name[start] = 'n';
		name[lengths[i]] = '\0';
		int fd = listen_at(name, lengths[i], true);
		CHECK(fd >= 0);
		CHECK(notify(name, "WATCHDOG=1") == KMS_OK);
		CHECK(heard(fd, "WATCHDOG=1"));
		(void)close(fd);
	}
	name[PATH_BYTES] = 'n';
	name[PATH_BYTES + 1] = '\0';
	CHECK(notify(name, "WATCHDOG=1") == KMS_ERR_RANGE);
}

TEST(what_is_no_name_is_refused)
{
	const char *const names[] = { "", "@", "/", "run/notify", "vsock:2:1234" };
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		CHECK(notify(names[i], "READY=1") == KMS_ERR_RANGE);
	CHECK(kms_process_notify(KMS_NO_TEXT, KMS_TEXT("READY=1")) == KMS_ERR_ARGUMENT);
	CHECK(notify("/run/notify", "") == KMS_ERR_ARGUMENT);
}

TEST(nobody_listens)
{
	CHECK(notify(path_of(60), "READY=1") == KMS_ERR_SYSTEM);
	CHECK(errno == ENOENT);
}

TEST(a_supervisor_that_does_not_read_keeps_nobody_waiting)
{
	const char *path = path_of(60);
	int fd = listen_at(path, strlen(path), false);
	kms_status status = KMS_OK;
	for (int i = 0; i < 100000 && status == KMS_OK; i++)
		status = notify(path, "WATCHDOG=1");
	CHECK(status == KMS_ERR_BUSY);
	CHECK(heard(fd, "WATCHDOG=1"));
	CHECK(notify(path, "WATCHDOG=1") == KMS_OK);
	(void)unlink(path);
	(void)close(fd);
}

TEST(a_confined_process_is_heard)
{
	if (test_under_valgrind()) return;
	const char *path = path_of(60);
	int fd = listen_at(path, strlen(path), false);
	pid_t child = fork();
	int status = -1;
	if (child == 0) {
		if (kms_process_harden() != KMS_OK || kms_process_confine(NULL) != KMS_OK) _exit(2);
		_exit(notify(path, "STOPPING=1") == KMS_OK ? 0 : 3);
	}
	CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
	CHECK(heard(fd, "STOPPING=1"));
	(void)unlink(path);
	(void)close(fd);
}

RUN_TESTS(0, T(a_message_reaches_a_path_of_any_length_that_fits),
	  T(a_message_reaches_an_abstract_name_of_any_length_that_fits), T(what_is_no_name_is_refused),
	  T(nobody_listens), T(a_supervisor_that_does_not_read_keeps_nobody_waiting),
	  T(a_confined_process_is_heard))
